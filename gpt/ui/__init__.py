"""The page: the only place that knows of gradio. Its modules are loaded when first used, as those of `gpt` are."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpt.ui import attention_views, cost_views, model_views


def __getattr__(name: str) -> Any:
    try:
        return import_module(f"gpt.ui.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"gpt.ui.{name}":
            raise
        raise AttributeError(f"gpt.ui has no module {name!r}") from None
