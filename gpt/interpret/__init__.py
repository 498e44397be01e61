"""Looking inside a model: where it looks, what surprises it, what each head does, and what can reach a token."""

from typing import TYPE_CHECKING

from gpt.lazy import face

if TYPE_CHECKING:
    from gpt.interpret.attention_maps import attention_maps

__getattr__, __dir__, __all__ = face(__name__)
