"""What the Compare tab's buttons do: plain functions of the controls' values."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from gpt.data.tokenizer import Tokenizer
from gpt.runs.limits import (
    LARGEST_UPLOAD,
    LONGEST_PROMPT,
    LONGEST_READING,
    MOST_COMPARED,
    MOST_NEW_TOKENS,
    MOST_WRITING_SECONDS,
)
from gpt.ui.catalogue import Catalogue, still_there
from gpt.ui.compare.settings import SamplingSettings
from gpt.ui.components.text_columns import text_columns_value
from gpt.ui.pace import PACE
from gpt.ui.requests import (
    one_sentence,
    require_flag,
    require_number,
    require_text,
    require_whole,
    sentence,
    with_controls,
)

# What needs PyTorch is imported where it is used, because the page is made before PyTorch is loaded.
if TYPE_CHECKING:
    from gpt.ui.compare.writing import Column

SECONDS_BETWEEN_UPDATES = 1 / 12
EMPTY_STEPS = "Press Expect: what each model expects next will appear here, for you to choose from."
EMPTY_READING = "Press Read: every character will be coloured by how much it surprised each model."


class CompareHandlers:
    """What the tab's buttons do; plain functions of the controls' values, so that tests can call them."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._writings = itertools.count(1)

    @with_controls(*(field.name for field in fields(SamplingSettings)))
    async def generate(
        self, names: Any, prompt: Any, leave_out: Any, length: Any, second: Any, *sampling: Any
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield all columns as they grow, at most twelve times a second.

        Args:
            names: of the models, as the catalogue knows them.
            prompt: what to continue.
            leave_out: whether characters that a model has never seen are left out of its prompt.
            length: tokens to write.
            second: a second temperature at which each model writes, too; "" for none.
            sampling: the fields of `SamplingSettings`, the same for all models.
        """
        from gpt.ui.compare.writing import write_in_turns

        with one_sentence():
            columns = await asyncio.to_thread(self._columns, names, prompt, leave_out, length, second, *sampling)
        started = time.monotonic()
        deadline = started + MOST_WRITING_SECONDS
        goes_on, writing = True, next(self._writings)
        with PACE.stream():
            while goes_on:
                next_update = time.monotonic() + PACE.seconds(SECONDS_BETWEEN_UPDATES)
                has_more = await asyncio.to_thread(write_in_turns, columns, SECONDS_BETWEEN_UPDATES)
                goes_on = has_more and time.monotonic() < deadline
                if goes_on:
                    status = "Writing…"
                elif has_more:
                    status = f"Ended after {MOST_WRITING_SECONDS:g} s, the longest that texts are written."
                else:
                    status = f"Done in {time.monotonic() - started:.1f} s."
                views = [column.view() for column in columns]
                yield text_columns_value(views, status=status, writing=writing if goes_on else 0)
                await asyncio.sleep(max(0.0, next_update - time.monotonic()))

    def _columns(
        self, names: Any, prompt: Any, leave_out: Any, length: Any, second: Any, *sampling: Any
    ) -> list[Column]:
        from gpt.ui.compare.views import readable
        from gpt.ui.compare.writing import Column

        chosen = SamplingSettings(*sampling).sampling()
        length = require_whole("length", length, 1, MOST_NEW_TOKENS)
        temperatures = [chosen.temperature]
        if second not in ("", None):
            temperatures.append(require_number("second temperature", second, 0, 5))
        models = self.catalogue.chosen(names, MOST_COMPARED // len(temperatures))
        prompt = _prompt(prompt)
        leave_out = require_flag("the switch for unseen characters", leave_out)
        columns = []
        for ready in models:
            own_prompt, note = readable(ready, prompt, leave_out)
            for temperature in temperatures:
                what = f"{note} · temperature {temperature:g}" if len(temperatures) > 1 else note
                columns.append(Column(ready, own_prompt, length, replace(chosen, temperature=temperature), what))
        return columns

    def expect(
        self, names: Any, text: Any, leave_out: Any, temperature: Any, top_k: Any, top_p: Any
    ) -> tuple[dict[str, Any], str]:
        """What each model expects after a text, for `next_token` to draw, and the text.

        The bars carry logits, so that temperature, top-k and top-p reshape them on the page.
        """
        from gpt.ui.compare.views import expectation

        with one_sentence():
            sampling = SamplingSettings(temperature, top_k, top_p, 0)
            text = _prompt(text, longest=LONGEST_READING)
            leave_out = require_flag("the switch for unseen characters", leave_out)
            models = [expectation(ready, text, leave_out) for ready in self.catalogue.chosen(names)]
        value = {
            "text": text,
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "models": models,
            "empty": EMPTY_STEPS,
        }
        return value, text

    def choose(
        self, names: Any, text: Any, leave_out: Any, temperature: Any, top_k: Any, top_p: Any, chosen: gr.EventData
    ) -> tuple[dict[str, Any], str]:
        """Append the token that was pressed, and look again."""
        with one_sentence():
            token = require_text("the token", getattr(chosen, "token", None), 100)
        return self.expect(names, f"{text or ''}{token}", leave_out, temperature, top_k, top_p)

    def take_back(
        self, names: Any, text: Any, leave_out: Any, temperature: Any, top_k: Any, top_p: Any
    ) -> tuple[dict[str, Any], str]:
        """Remove the last token, as the first model cuts the text, unless it is the only one, and look again."""
        with one_sentence():
            text = _prompt(text, longest=LONGEST_READING)
            shorter = _without_last_token(self.catalogue.chosen(names)[0].tokenizer, text)
        return self.expect(names, shorter or text, leave_out, temperature, top_k, top_p)

    def read(self, names: Any, text: Any, leave_out: Any) -> str:
        """How much each character of a text surprised each model, for `surprise_text` to draw.

        As JSON in one piece, because Gradio's page walks every number of a value that it knows as numbers.
        """
        from gpt.ui.compare.views import reading_view

        with one_sentence():
            text = require_text("the text", text, LONGEST_READING)
            if len(text) < 2:
                raise ValueError(
                    "the text has fewer than two characters, so nothing in it can be a surprise; give a longer one"
                )
            leave_out = require_flag("the switch for unseen characters", leave_out)
            models = [reading_view(ready, text, leave_out) for ready in self.catalogue.chosen(names)]
            if len({tuple(model["tokens"]) for model in models if not model["error"]}) > 1:
                for model in models:  # what is counted per token cannot be compared
                    model["totals"] = [total for total in model["totals"] if total[0] == "bits per byte"]
            return json.dumps({"models": models, "empty": EMPTY_READING}, allow_nan=False)

    def refresh(self, seen: Any, names: Any) -> gr.Dropdown:
        """The models there are now: those chosen stay chosen, and new ones join them while there is room."""
        choices = self.catalogue.choices(seen, also=names)
        kept = still_there(choices, names)
        own = self.catalogue.choices(seen)
        new = [name for _, name in own if name.startswith("run/") and "@" not in name and name not in kept]
        return gr.Dropdown(choices=choices, value=[*kept, *new][:MOST_COMPARED], multiselect=True)

    def upload(self, content: Any, seen: Any, names: Any) -> tuple[Any, Any]:
        """Take in a zipped checkpoint and choose it."""
        with one_sentence():
            if not isinstance(content, bytes):
                raise ValueError(f"this is not a file; choose a zip file of at most {LARGEST_UPLOAD // 10**6} MB")
            name = self.catalogue.upload(content)
        known = [*(seen if isinstance(seen, list) else []), name]
        return known, self._also(known, names, name)

    def fetch_original(self, seen: Any, names: Any) -> Any:
        """Load the original GPT-2, which the first time needs the network, and choose it."""
        from gpt.checkpoints.pretrained import PretrainedUnavailable

        try:
            name = self.catalogue.fetch_original()
        except PretrainedUnavailable as error:
            raise gr.Error(sentence(error), print_exception=False) from None
        return self._also(seen, names, name)

    def _also(self, seen: Any, names: Any, name: str) -> gr.Dropdown:
        choices = self.catalogue.choices(seen, also=names)
        kept = [known for known in still_there(choices, names) if known != name]
        return gr.Dropdown(choices=choices, value=[*kept[: MOST_COMPARED - 1], name], multiselect=True)


def _without_last_token(tokenizer: Tokenizer, text: str) -> str:
    """The text less its last token, or less its last character where the tokenizer does not know them all."""
    if tokenizer.unknown_characters(text):
        return text[:-1]
    ids = tokenizer.encode(text)[:-1]
    while not text.startswith(tokenizer.decode(ids)):  # ends in half a character
        ids = ids[:-1]
    return tokenizer.decode(ids)


def _prompt(text: Any, longest: int = LONGEST_PROMPT) -> str:
    text = require_text("the prompt", text, longest)
    if not text:
        raise ValueError("the prompt is empty; give at least one character to continue from")
    return text
