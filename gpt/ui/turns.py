"""Which functions of the page share their places: how many calls of each kind are answered at the same time."""

from __future__ import annotations

from typing import Any

from gpt.runs.limits import MOST_MEASURING, MOST_PRESSES, MOST_PROBING, MOST_WATCHING, MOST_WRITING


def _kind(name: str, most: int) -> dict[str, Any]:
    """Options of an event of the page."""
    return {"concurrency_id": name, "concurrency_limit": most}


WATCHING = _kind("watching", MOST_WATCHING)  # streams that show a run
WRITING = _kind("writing", MOST_WRITING)  # streams of text
MEASURING = _kind("measuring", MOST_MEASURING)  # streams of measurements, which are made one after another
PROBES = _kind("probes", MOST_PROBING)  # looks into models
PRESSES = _kind("presses", MOST_PRESSES)  # what is answered at once
