"""On a Space with ZeroGPU: what such a Space asks for before it starts.

It lends a GPU to functions that ask for one, for as long as each runs, and starts only if there is such a function.
Models are trained and read on the CPU there, as everywhere on this page: visitors have minutes of GPU a day, and a
training is watched for longer. So nothing on the page calls the one function that is registered.

The package `spaces` is on such a Space already. It makes PyTorch believe in a GPU, in this process alone, so it is
imported there and nowhere else: trainer processes never see it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

_MOST_SECONDS = 10  # for which a GPU would be lent


def register_with_zero_gpu() -> Callable[[], str] | None:
    """Register a function that would use a GPU, and give it; None where there is no ZeroGPU.

    To be called before PyTorch is loaded and before the page is shown, when the Space counts such functions.
    """
    if os.environ.get("SPACES_ZERO_GPU", "").lower() not in ("1", "t", "true"):  # as `spaces` reads it
        return None
    try:
        import spaces  # type: ignore[import-not-found]
    except ImportError:
        return None
    registered: Callable[[], str] = spaces.GPU(duration=_MOST_SECONDS)(name_of_gpu)
    return registered


def name_of_gpu() -> str:
    """The name of the GPU that was lent; "none" where there is none."""
    import torch  # after `spaces`

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
