"""A slider over the kept steps of a training, to see a picture as the model learned."""

from typing import Any

import gradio as gr

from gpt.ui.components import drawn_component


def step_slider(value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """A slider with a button to each side and one that plays the steps one after another.

    The value is `{"steps", "index", "label"}` or the same as one JSON string: the kept steps in rising order, the
    place in that list of the step shown now, and words for the slider, such as "As it learned", which read
    "As it learned: step 30". With fewer than two steps, or None, the component is not there and takes no room.

    Event: `choose_step`, with `step`. It expects the same value in return with the "index" of that step, once the
    pictures show it: the slider moves at once, and playing goes on only when the answer has come.
    """
    return drawn_component(
        "step_slider", value, shared=("parts", "values", "numbers", "waiting", "switches"), **options
    )
