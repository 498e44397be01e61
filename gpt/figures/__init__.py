"""Figures for files, by matplotlib, and the colours that they share with the page."""

from typing import TYPE_CHECKING

from gpt.lazy import face

if TYPE_CHECKING:
    from gpt.figures.plots import attention_figure, loss_figure, save_figure

__getattr__, __dir__, __all__ = face(__name__)
