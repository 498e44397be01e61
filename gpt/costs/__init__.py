"""What a model costs, by formula and measured on this machine."""

from typing import TYPE_CHECKING

from gpt.lazy import face

if TYPE_CHECKING:
    from gpt.costs.formulas import cache_bytes, flops_per_token, parameter_count

__getattr__, __dir__, __all__ = face(__name__)
