"""Text out: how the next token is sampled, and how many texts are continued at once.

`Core` (core.py) continues texts, and waits for nobody. One text alone is a core of its own: `stream_tokens`, which all
else drains. Many readers share the core of a `GenerationEngine`, whose thread (owner.py) is the only one to touch it.
"""

from typing import TYPE_CHECKING

from gpt.lazy import face

if TYPE_CHECKING:
    from gpt.generation.engine import EngineStream, GenerationEngine
    from gpt.generation.owner import GenerationFailed
    from gpt.generation.sampling import Sampling, next_token_probabilities
    from gpt.generation.stream import TokenStream, extend_ids, stream_text, stream_tokens

__getattr__, __dir__, __all__ = face(__name__)
