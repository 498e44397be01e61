"""The page: the only chapter that knows Gradio.

`app` makes the page of one tab after another, each a package of its own: `train`, `compare`, `attention`, `cost`. A
tab's `tab.py` is its layout and wiring, `handlers.py` what its controls do, as plain functions of their values, and
the rest turns results into what `components` draw in the browser. What the tabs share lies beside them: `catalogue`
(the models there are), `requests` (the check of what arrives), `address` (links), `sizes`, `theme`, and `limiter` and
`pace`, by which visitors share the machine. Everything that a visitor sends comes through the `door`.
"""

import os
from typing import TYPE_CHECKING

from gpt.lazy import face

# Read when Gradio is imported. It would sum up its last ten thousand events after each, for a page that is off here.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")

if TYPE_CHECKING:
    from gpt.ui.app import create_demo, launch

__getattr__, __dir__, __all__ = face(__name__)
