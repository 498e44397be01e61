"""Diagnostics of a run, folded away under the loss chart: gradient norms, accuracies, and what its heads do.

While it is unfolded and in sight it asks the server for what is new, as often as the page is told of its run; folded it
asks for nothing.
"""

from typing import Any

import gradio as gr

from gpt.ui.components import drawn_component


def diagnostics(value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """Three small charts in a fold; the value is `{"empty"}`, said where no run is on the page, or None.

    The run on the page is the one that `run_panel` names. Two server functions answer:

    - `news_of_run`, called with `{"run", "told"}`, the last step this page knows of or -1, with what came after it:
      "run"; "since", the step after which it tells, -1 for everything; "told", up to which; "max_steps"; "clip", what
      gradients are cut to, 0 for nothing; "rest", the seconds before it is asked again; "series", of each curve
      "label", "colour", "dash", "steps" and "norms", "evaluated" and "shares", with None for a number that is not
      known; "models", of each "label" and "kept", the steps of which its weights are kept; and "scores", of each "key"
      and "name". {"run": ""} is for a run that is not there any more.
    - `head_scores`, called with `{"run", "model", "score"}`, the model's number and a key, with {"error"}, a sentence,
      or "definition", "unit", "text", "colour", "layers", "heads", "steps", and "values", for each step the score of
      every head, layer after layer, None where it has none.
    """
    return drawn_component(
        "diagnostics",
        value,
        shared=("parts", "numbers", "keys", "scales", "tables", "spoken", "described", "charts"),
        parts=("cards", "lines", "heads"),
        **options,
    )
