"""Under the loss chart: how far a run is, what its models write now, and what they cost."""

from typing import Any

import gradio as gr

from gpt.ui.components import drawn_component


def run_panel(value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """A panel drawn from `{"sentence", "is_error", "state", "share", "run", "version", "models", "proof", "may_read"}`.

    `sentence` says where the run is, `share` is how much of it is done (0 to 1, or None for no bar), `run` its key or
    "", `version` the run's own, `proof` a list of [name, value] about what was equal, shown on demand. Each model has
    "label", "colour", "dash", "samples" as a list of [step, text], and "facts" as a list of [name, value].
    `may_read` is false where what the models write is not for this visitor; it may be left out, and so may `predicts`,
    what comes next in a text: "character" or "token", `settings`, a list of [name, value] of what the run was set to,
    and `next_sample`, the step at which the models write next, if they do.

    The server function `still_watching`, called with `{"run": key}` every few seconds, answers with the run's version,
    or None for a run it does not know. Event: `watch_again`, when the run has moved on and this page was not told.
    `gpt-lab:run` with `detail` {run} goes to the document with every value, and in answer to `gpt-lab:which-run`.
    """
    subjects = ("parts", "tokens", "numbers", "tables", "spoken", "dashes")
    return drawn_component("run_panel", value, shared=subjects, **options)
