"""Text in, batches out: tokenizers, the texts to learn from, and how they are cut into batches."""

from typing import TYPE_CHECKING

from gpt.lazy import face

if TYPE_CHECKING:
    from gpt.data.corpora import CORPORA, CorpusUnavailable, corpora_at_hand, load_corpus
    from gpt.data.corpus import Corpus
    from gpt.data.prepare import PreparedText, load_prepared, prepare_text
    from gpt.data.tasks import TASKS, Task, task_text
    from gpt.data.tokenizer import BPETokenizer, CharTokenizer, Tokenizer

__getattr__, __dir__, __all__ = face(__name__)
