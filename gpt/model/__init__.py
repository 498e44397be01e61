"""What a GPT is: its configuration, the mask, positions and layers, and `GPT2`, which is made of them.

From the mask up to the model, each file stands on those before it: `config`, `masks`, `positions`, `cache`, `banded`
(attention over a window, in blocks), `attention`, `layers`, `gpt2`; `seeds` gives every purpose its random stream.
"""

from typing import TYPE_CHECKING

from gpt.lazy import face

if TYPE_CHECKING:
    from gpt.model.attention import GroupQueryAttention, MultiHeadSelfAttention, SlidingWindowAttention
    from gpt.model.cache import KVCache
    from gpt.model.config import (
        VARIANTS,
        GPTConfig,
        adjusted_config,
        changes_from_gpt2,
        make_config,
        variant_name,
    )
    from gpt.model.gpt2 import GPT2
    from gpt.model.layers import GPT2Block, GPT2LayerNorm, GPT2OutputLayer, PositionWiseFeedForward, TransformerBlock
    from gpt.model.masks import attention_mask
    from gpt.model.positions import RotaryPositionalEncoding
    from gpt.model.seeds import derived_seed, seeded_generator

__getattr__, __dir__, __all__ = face(__name__)
