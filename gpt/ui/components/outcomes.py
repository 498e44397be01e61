"""What a model expects and writes after a text, beside the same model with heads ablated or another one."""

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from gpt.ui.components import drawn_component

MOST_STATES = 3
MOST_TOKENS = 8


def outcomes(value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """Bars of the next token for up to three states, grouped by token, and how each state goes on writing.

    The value is what `outcomes_value` gives: `{"title", "tokens", "states", "prompt_end", "empty"}`. An event may
    return it as one JSON string, too.
    """
    return drawn_component(
        "outcomes", value, shared=("parts", "values", "tokens", "numbers", "dashes", "more"), **options
    )


def outcomes_value(
    title: str, tokens: Sequence[str], states: Sequence[Mapping[str, Any]], prompt_end: str, empty: str = ""
) -> dict[str, Any]:
    """What `outcomes` draws.

    Args:
        title: what is shown, in a few words.
        tokens: one to eight, the same for all states.
        states: one to three (none for an empty picture), each with "label", "note" (a few words, or ""), "colour" and
            "dash" from `theme.variant_style`, "loss" and "change" in words with neither unit ("2.131",
            "+0.073 ± 0.020" or ""), "probabilities" of the tokens in their order, and "text", what it writes next.
        prompt_end: the last characters of the text, shown before what each state writes.
        empty: said where there are no states.

    Raises:
        ValueError: there are too many, or a state's probabilities do not fit the tokens.
    """
    if len(states) > MOST_STATES or len(tokens) > MOST_TOKENS:
        raise ValueError(
            f"{len(states)} states and {len(tokens)} tokens do not fit; "
            f"give at most {MOST_STATES} states and {MOST_TOKENS} tokens"
        )
    for state in states:
        if len(state["probabilities"]) != len(tokens):
            raise ValueError(
                f"{state['label']} has {len(state['probabilities'])} probabilities for {len(tokens)} tokens; "
                "give one for each"
            )
        if not all(0 <= probability <= 1 for probability in state["probabilities"]):
            raise ValueError(f"{state['label']} has probabilities {state['probabilities']}: each must lie in [0, 1]")
    return {
        "title": title,
        "tokens": list(tokens),
        "states": [dict(state) for state in states],
        "prompt_end": prompt_end,
        "empty": empty,
    }
