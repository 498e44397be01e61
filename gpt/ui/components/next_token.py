"""What may come next: each model's distribution of the next token as bars, reshaped in the browser."""

from typing import Any

import gradio as gr

from gpt.ui.components import drawn_component


def next_token(value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """Bars of the next token, one column a model, under the text so far.

    The value is `{"text", "temperature", "top_k", "top_p", "empty", "models"}`: the shared text, where the reader's
    own sliders start (`top_k` 0 and `top_p` 1 cut nothing), the words for a page without models, and one to four
    models. The sliders start again only when a value brings other numbers than the value before it. Each model has

    - "label", "note", "colour", "dash", and "error", a sentence that stands in place of the bars, or "";
    - "tokens" and "logits", in order of falling logit: all of a character model's, a BPE model's first 200;
    - "rest", the logsumexp of the logits that were not sent, or None where all were;
    - "vocab_size", how many tokens the model knows; only needed, to count the others, where "rest" is given.

    The browser does to the logits what `next_token_probabilities` does. With `rest`, the result is the
    same too, except at temperatures other than 0 and 1 without top-k, where only the tokens sent count, and with a
    top-p that reaches into the rest, which is cut to within one token; a note in the column says the former.

    Events: `choose`, with `token`, its `rank` (place in "tokens") and the `model` (its label) it was chosen from, and
    `take_back`. Both expect a new value in return.
    """
    return drawn_component(
        "next_token",
        value,
        shared=("parts", "values", "tokens", "numbers", "keys", "dashes", "cards", "more"),
        **options,
    )
