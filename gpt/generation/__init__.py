"""Text out: how the next token is sampled, and how many texts are continued at once."""

from typing import TYPE_CHECKING

from gpt.lazy import face

if TYPE_CHECKING:
    from gpt.generation.engine import Batcher
    from gpt.generation.stream import stream_text, stream_tokens

__getattr__, __dir__, __all__ = face(__name__)
