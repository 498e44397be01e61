"""Writing: several models continue the same words, each with its own text."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from served import BOTH, CONTEXT, refuses

from gpt import stream_text
from gpt.generation.decoder import Decoder
from gpt.generation.sampling import Sampling
from gpt.runs.run import Run
from gpt.ui.catalogue import Catalogue
from gpt.ui.compare.writing import Column

Generate = Callable[..., list[dict[str, Any]]]
HOSTILE = "<img src=x onerror=window.hacked=1>${alert(1)}{{constructor}}"


def test_each_model_writes_its_own_text(generate: Generate, catalogue: Catalogue) -> None:
    columns = generate()[-1]["columns"]
    assert [column["label"] for column in columns] == ["gpt2", "sliding-window"]
    for name, column in zip(BOTH, columns, strict=True):
        ready = catalogue.get(name)
        pieces = stream_text(ready.model, ready.tokenizer, "The fox", max_new_tokens=60, temperature=0.8, seed=7)
        assert column["text"] == "".join(pieces)
        assert column["prompt"] == "The fox"
        assert column["note"] == ready.note


def test_texts_only_grow(generate: Generate) -> None:
    values = generate(length=400)
    assert len(values) > 1
    for before, after in itertools.pairwise(values):
        for old, new in zip(before["columns"], after["columns"], strict=True):
            assert new["text"].startswith(old["text"])


def test_facts_are_measured_or_computed(generate: Generate) -> None:
    for column in generate()[-1]["columns"]:
        facts = dict(column["facts"])
        assert facts["speed"].endswith(" tokens/s")
        assert facts["first token"].endswith(" ms")
        assert "parameters" in facts


def test_a_models_time_goes_on_while_others_write(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tokens are there before they are asked for: to count only the time of asking would flatter it."""
    now = [10.0]
    monkeypatch.setattr("gpt.ui.compare.writing.time", SimpleNamespace(perf_counter=lambda: now[0]))
    column = Column(catalogue.get(BOTH[0]), "The fox", 20, Sampling(0.8, None, None, 7), "")
    for others_take in (3.0, 2.0):
        now[0] += others_take
        assert column.write_one()
    facts = dict(column.view()["facts"])
    assert facts["first token"] == "3,000 ms"
    assert column.seconds == 5.0


def test_the_cache_measured_is_the_cache_computed(generate: Generate) -> None:
    """With a prompt of the context less one and one token to write, the cache is as full as it gets but for one."""
    prompt = ("The lazy dog jumps. " * 9)[:CONTEXT]
    for column in generate(prompt=prompt, length=1)[-1]["columns"]:
        facts = dict(column["facts"])
        assert facts["cache now, measured"] == facts["cache at most, computed"]


def test_a_window_keeps_a_smaller_cache(generate: Generate) -> None:
    full, window = (
        float(dict(column["facts"])["cache at most, computed"].removesuffix(" KiB"))
        for column in generate()[-1]["columns"]
    )
    assert window < full


def test_a_seed_gives_the_same_text_again(generate: Generate) -> None:
    texts = [[column["text"] for column in generate(seed=seed)[-1]["columns"]] for seed in (7, 7, 8)]
    assert texts[0] == texts[1] != texts[2]


def test_temperature_zero_and_top_k_one_take_the_likeliest(generate: Generate) -> None:
    greedy = [column["text"] for column in generate(temperature=0)[-1]["columns"]]
    assert greedy == [column["text"] for column in generate(top_k=1, seed=3)[-1]["columns"]]


def test_a_prompt_longer_than_the_context_is_continued(generate: Generate) -> None:
    prompt = "The lazy dog jumps. " * 5
    assert len(prompt) > CONTEXT
    assert all(len(column["text"]) == 60 for column in generate(prompt=prompt)[-1]["columns"])


def test_hostile_words_stay_words(generate: Generate, finished: Callable[..., Run]) -> None:
    run = finished(own_text=HOSTILE * 20)
    (column,) = generate(names=[f"run/{run.key}/0"], prompt=HOSTILE)[-1]["columns"]
    assert column["prompt"] == HOSTILE
    assert len(column["text"]) == 60


# --- Two temperatures -------------------------------------------------------------------------------------------------


def test_a_model_writes_at_two_temperatures_side_by_side(generate: Generate) -> None:
    columns = generate(names=["shipped/gpt2"], second=0)[-1]["columns"]
    assert [column["note"].rpartition(" · ")[2] for column in columns] == ["temperature 0.8", "temperature 0"]
    assert columns[0]["text"] == generate(names=["shipped/gpt2"])[-1]["columns"][0]["text"]
    assert columns[1]["text"] == generate(names=["shipped/gpt2"], temperature=0)[-1]["columns"][0]["text"]


def test_two_temperatures_leave_room_for_two_models(generate: Generate) -> None:
    with refuses("3 models are chosen; at most 2 fit side by side"):
        generate(names=[*BOTH, "shipped/gpt2"], second=0.2)


# --- Unseen characters ------------------------------------------------------------------------------------------------


def test_unseen_characters_are_named_in_their_column_and_the_others_write_on(
    generate: Generate, finished: Callable[..., Run]
) -> None:
    run = finished(own_text="0123456789 #\n" * 40)
    shipped, trained = generate(names=["shipped/gpt2", f"run/{run.key}/0"], prompt="#7")[-1]["columns"]
    assert "'#' '7'" in shipped["note"]
    assert shipped["note"].startswith("This model has never seen ")
    assert shipped["text"] == ""
    assert len(trained["text"]) == 60


def test_unseen_characters_are_left_out_and_named(generate: Generate) -> None:
    (column,) = generate(names=["shipped/gpt2"], prompt="The #fox", leave_out=True)[-1]["columns"]
    assert column["prompt"] == "The fox"
    assert "left out: '#'" in column["note"]
    assert column["text"] == generate(names=["shipped/gpt2"], prompt="The fox")[-1]["columns"][0]["text"]


def test_nothing_left_to_read_is_refused(generate: Generate) -> None:
    with refuses("knows none of these characters"):
        generate(prompt="##", leave_out=True)


def test_a_failure_is_a_sentence_beside_what_was_written(
    generate: Generate, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the model concerned; the others write on."""
    read, model = Decoder.read, catalogue.get(BOTH[0]).model

    def run_short(self: Decoder, ids: torch.Tensor) -> torch.Tensor:
        if self._model is model and self.slots.lengths[0] > 20:
            raise MemoryError("too little of it")
        return read(self, ids)

    monkeypatch.setattr(Decoder, "read", run_short)
    failed, whole = generate()[-1]["columns"]
    assert failed["note"] == "The texts that were computed together failed: MemoryError: too little of it."
    assert 0 < len(failed["text"]) < len(whole["text"]) == 60
