"""A small and exact library of GPT architectures: the names below are all that is public.

Its chapters, from the lowest up: `model`, `data`, `costs`, `generation`, `training`, `interpret`, `checkpoints`,
`figures`, `runs`, `ui`; and beside them `bench`, which measures them.
"""

import sys
from typing import TYPE_CHECKING

__version__ = "0.1.0"  # the one place of it

if sys.version_info < (3, 10):  # noqa: UP036 - said here, as an older Python cannot even read what follows
    _needs = "GPT Lab needs Python 3.10 or newer, and this is Python %d.%d" % sys.version_info[:2]  # noqa: UP031
    raise SystemExit(_needs) if sys.argv[:1] == ["-m"] else ImportError(_needs)

from gpt.lazy import face

if TYPE_CHECKING:
    from gpt.checkpoints.files import CheckpointError
    from gpt.checkpoints.folder import Checkpoint, load_checkpoint, save_checkpoint
    from gpt.checkpoints.listing import TRAINED_MODELS, list_checkpoints
    from gpt.checkpoints.pretrained import PretrainedUnavailable, load_pretrained
    from gpt.checkpoints.upload import load_checkpoint_zip
    from gpt.data.corpora import CORPORA, CorpusUnavailable, load_corpus
    from gpt.data.corpus import Corpus
    from gpt.data.tokenizer import BPETokenizer, CharTokenizer, Tokenizer
    from gpt.generation.engine import GenerationEngine
    from gpt.generation.sampling import Sampling
    from gpt.generation.stream import stream_text, stream_tokens
    from gpt.interpret.attention_maps import attention_maps
    from gpt.model.attention import GroupQueryAttention, MultiHeadSelfAttention, SlidingWindowAttention
    from gpt.model.cache import KVCache
    from gpt.model.config import VARIANTS, GPTConfig
    from gpt.model.gpt2 import GPT2
    from gpt.model.layers import GPT2Block, GPT2LayerNorm, GPT2OutputLayer, PositionWiseFeedForward, TransformerBlock
    from gpt.model.masks import attention_mask
    from gpt.model.positions import RotaryPositionalEncoding
    from gpt.runs.exports import export_run
    from gpt.training.evaluation import evaluate
    from gpt.training.recipes import RECIPES, TrainConfig
    from gpt.training.state import TrainEvent
    from gpt.training.trainer import Trainer, TrainingDiverged, train

__getattr__, __dir__, __all__ = face(__name__)
