"""Comparing: several models write after the same words, each its own text; what cannot be is said in a sentence."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch
from served import CONTEXT, NO_NUMBERS, collect, refuses

from gpt import Corpus, PretrainedUnavailable, evaluate, save_checkpoint, stream_text
from gpt.generation.decoder import Decoder
from gpt.runs.limits import LONGEST_PROMPT, MOST_COMPARED
from gpt.runs.run import Run
from gpt.ui.catalogue import Catalogue
from gpt.ui.compare.handlers import CompareHandlers
from gpt.ui.compare.tab import from_address

BOTH = ["shipped/gpt2", "shipped/sliding-window"]
ASKED: dict[str, Any] = {
    "names": BOTH,
    "prompt": "The fox",
    "leave_out": False,
    "length": 60,
    "second": "",
    "temperature": 0.8,
    "top_k": 0,
    "top_p": 1,
    "seed": 7,
}
HOSTILE = "<img src=x onerror=window.hacked=1>${alert(1)}{{constructor}}"


@pytest.fixture
def compare_tab(catalogue: Catalogue) -> CompareHandlers:
    """The Compare tab's handlers."""
    return CompareHandlers(catalogue)


@pytest.fixture
def generate(compare_tab: CompareHandlers) -> Callable[..., list[dict[str, Any]]]:
    """`generate(**changes)`: press Generate; all values the page gets, one after the other."""

    def press(**changes: Any) -> list[dict[str, Any]]:
        return asyncio.run(collect(compare_tab.generate(*(ASKED | changes).values())))

    return press


Generate = Callable[..., list[dict[str, Any]]]


def test_each_model_writes_its_own_text(generate: Generate, catalogue: Catalogue) -> None:
    columns = generate()[-1]["columns"]
    assert [column["label"] for column in columns] == ["gpt2", "sliding-window"]
    for name, column in zip(BOTH, columns, strict=True):
        ready = catalogue.get(name)
        pieces = stream_text(ready.model, ready.tokenizer, "The fox", max_new_tokens=60, temperature=0.8, seed=7)
        assert column["text"] == "".join(pieces)
        assert column["prompt"] == "The fox"
        assert column["note"] == ready.note


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


def test_unseen_characters_are_named_in_their_column_and_the_others_write_on(
    generate: Generate, finished: Callable[..., Run]
) -> None:
    run = finished(own_text="0123456789 #\n" * 40)
    shipped, trained = generate(names=["shipped/gpt2", f"run/{run.key}/0"], prompt="#7")[-1]["columns"]
    assert "'#' '7'" in shipped["note"]
    assert shipped["note"].startswith("This model has never seen ")
    assert shipped["text"] == ""
    assert len(trained["text"]) == 60


def test_hostile_words_stay_words(generate: Generate, finished: Callable[..., Run]) -> None:
    run = finished(own_text=HOSTILE * 20)
    (column,) = generate(names=[f"run/{run.key}/0"], prompt=HOSTILE)[-1]["columns"]
    assert column["prompt"] == HOSTILE
    assert len(column["text"]) == 60


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"prompt": ""}, "The prompt is empty"),
        ({"prompt": None}, "The prompt is missing"),
        ({"prompt": ["ROMEO:"]}, "The prompt is missing"),
        ({"prompt": "x" * (LONGEST_PROMPT + 1)}, "has 2,001 characters; at most 2,000"),
        ({"prompt": "a\udc80"}, "half a character"),
        ({"names": []}, "No model is chosen"),
        ({"names": None}, "No model is chosen"),
        ({"names": "shipped/gpt2"}, "No model is chosen"),
        ({"names": BOTH * MOST_COMPARED}, "8 models are chosen; at most 4"),
        ({"names": ["shipped/mamba"]}, "This model is no longer here"),
        ({"names": ["shipped/../../etc"]}, "This model is no longer here"),
        ({"names": ["run/0123456789ab/0"]}, "This model is no longer here"),
        ({"names": [None]}, "This model is no longer here"),
        ({"names": [["shipped/gpt2"]]}, "This model is no longer here"),
        ({"temperature": -1}, "Temperature is -1"),
        ({"temperature": float("nan")}, "Temperature is nan; give a finite number"),
        ({"length": 0}, "Length is 0; give 1 or more"),
        ({"length": 1001}, "Length is 1001; at most 1,000"),
        ({"length": 20.5}, "Length is 20.5; give a whole number"),
    ],
    ids=lambda value: f"{value!r:.40}",
)
def test_what_cannot_be_is_refused(generate: Generate, changes: dict[str, Any], match: str) -> None:
    with refuses(match):
        generate(**changes)


@pytest.mark.parametrize("name", ["length", "temperature", "top_k", "top_p", "seed"])
@pytest.mark.parametrize("value", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_what_is_no_number_is_refused(generate: Generate, name: str, value: Any) -> None:
    with refuses(name.replace("_", "-").capitalize()):
        generate(**{name: value})


# --- The list of models ---------------------------------------------------------------------------------------------


def test_opening_the_tab_offers_what_was_trained(compare_tab: CompareHandlers, finished: Callable[..., Run]) -> None:
    run = finished(variants=["gpt2", "rotary"])
    trained = [f"run/{run.key}/0", f"run/{run.key}/1"]
    update = compare_tab.refresh([run.key], BOTH)
    offered = [name for _, name in update.choices]
    assert [name for name in offered if "@" not in name] == [*trained, *BOTH]
    assert f"run/{run.key}/0@1" in offered  # and what they were like at earlier steps
    assert update.value == [*BOTH, *trained]


def test_the_chosen_models_stay_and_never_become_too_many(
    compare_tab: CompareHandlers, finished: Callable[..., Run]
) -> None:
    run = finished(variants=["gpt2", "rotary", "modern"])
    assert compare_tab.refresh([run.key], BOTH).value == [*BOTH, f"run/{run.key}/0", f"run/{run.key}/1"]


@pytest.mark.parametrize("seen", [[], None, "x", ["0123456789ab"]], ids=repr)
@pytest.mark.parametrize("names", [["run/0123456789ab/0"], None, "x", [None, ["y"]]], ids=repr)
def test_models_that_are_gone_leave_the_list(compare_tab: CompareHandlers, seen: Any, names: Any) -> None:
    assert compare_tab.refresh(seen, names).value == []


# --- Temperatures side by side, and characters left out ---------------------------------------------------------------


def test_a_model_writes_at_two_temperatures_side_by_side(generate: Generate) -> None:
    columns = generate(names=["shipped/gpt2"], second=0)[-1]["columns"]
    assert [column["note"].rpartition(" · ")[2] for column in columns] == ["temperature 0.8", "temperature 0"]
    assert columns[0]["text"] == generate(names=["shipped/gpt2"])[-1]["columns"][0]["text"]
    assert columns[1]["text"] == generate(names=["shipped/gpt2"], temperature=0)[-1]["columns"][0]["text"]


def test_two_temperatures_leave_room_for_two_models(generate: Generate) -> None:
    with refuses("3 models are chosen; at most 2 fit side by side"):
        generate(names=[*BOTH, "shipped/gpt2"], second=0.2)


def test_unseen_characters_are_left_out_and_named(generate: Generate) -> None:
    (column,) = generate(names=["shipped/gpt2"], prompt="The #fox", leave_out=True)[-1]["columns"]
    assert column["prompt"] == "The fox"
    assert "left out: '#'" in column["note"]
    assert column["text"] == generate(names=["shipped/gpt2"], prompt="The fox")[-1]["columns"][0]["text"]


def test_nothing_left_to_read_is_refused(generate: Generate) -> None:
    with refuses("knows none of these characters"):
        generate(prompt="##", leave_out=True)


# --- Step by step -----------------------------------------------------------------------------------------------------


def test_bars_are_the_logits_of_a_forward_pass(compare_tab: CompareHandlers, catalogue: Catalogue) -> None:
    value, text = compare_tab.expect(BOTH, "The fox", False, 0.8, 0, 1)
    assert (value["text"], text) == ("The fox", "The fox")
    for name, model in zip(BOTH, value["models"], strict=True):
        ready = catalogue.get(name)
        with torch.no_grad():
            logits = ready.model(torch.tensor([ready.tokenizer.encode("The fox")]))[0, -1].double()
        assert model["rest"] is None
        assert len(model["tokens"]) == len(logits) == model["vocab_size"]
        assert model["logits"] == sorted(model["logits"], reverse=True)
        by_token = dict(zip(model["tokens"], model["logits"], strict=True))
        for index, logit in enumerate(logits.tolist()):
            assert by_token[ready.tokenizer.decode([index])] == pytest.approx(logit, abs=1e-5)


def test_a_text_longer_than_the_context_is_read_from_its_end(compare_tab: CompareHandlers) -> None:
    long, _ = compare_tab.expect(BOTH, "jumps. " * 10 + "The lazy dog " * 5, False, 0.8, 0, 1)
    end, _ = compare_tab.expect(BOTH, ("jumps. " * 10 + "The lazy dog " * 5)[-CONTEXT:], False, 0.8, 0, 1)
    assert [model["logits"] for model in long["models"]] == [model["logits"] for model in end["models"]]


def test_a_chosen_token_is_appended_and_taken_back(compare_tab: CompareHandlers) -> None:
    chosen = gr.EventData(None, {"token": "x"})
    value, text = compare_tab.choose(BOTH, "The fo", False, 0.8, 0, 1, chosen)
    assert value["text"] == text == "The fox"
    assert compare_tab.take_back(BOTH, text, False, 0.8, 0, 1)[1] == "The fo"
    assert compare_tab.take_back(BOTH, "T", False, 0.8, 0, 1)[1] == "T"


@pytest.mark.parametrize("sent", [{}, {"token": None}, {"token": ["x"]}, {"token": "x" * 101}, {"token": "\udc80"}])
def test_a_choice_that_is_no_token_is_refused(compare_tab: CompareHandlers, sent: dict[str, Any]) -> None:
    with refuses("The token"):
        compare_tab.choose(BOTH, "The fo", False, 0.8, 0, 1, gr.EventData(None, sent))


def test_a_model_that_does_not_know_the_text_says_so_beside_the_others(
    compare_tab: CompareHandlers, finished: Callable[..., Run]
) -> None:
    run = finished(own_text="0123456789 #\n" * 40)
    value, _ = compare_tab.expect(["shipped/gpt2", f"run/{run.key}/0"], "#7", False, 0.8, 0, 1)
    assert "has never seen" in value["models"][0]["error"]
    assert value["models"][1]["error"] == ""


# --- Reading a text ---------------------------------------------------------------------------------------------------

READ = "The lazy dog jumps over the fox. " * 3


def test_surprise_is_what_evaluate_measures(compare_tab: CompareHandlers, catalogue: Catalogue) -> None:
    value = json.loads(compare_tab.read(BOTH, READ, False))
    for name, model in zip(BOTH, value["models"], strict=True):
        ready = catalogue.get(name)
        ids = torch.tensor(ready.tokenizer.encode(READ))
        corpus = Corpus("read", ready.tokenizer, ids, ids, "")  # type: ignore[arg-type]
        assert dict(model["totals"])["loss, nats per token"] == f"{evaluate(ready.model, corpus):.3f}"
        assert "".join(model["tokens"]) == READ
        assert model["bits"][0] is None
        mean = sum(model["bits"][1:]) / (len(READ) - 1)
        assert mean * math.log(2) == pytest.approx(evaluate(ready.model, corpus), abs=1e-3)
        assert len(model["alternatives"]) == len(READ)
        assert all(len(five) == 5 for five in model["alternatives"][1:])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "fewer than two"),
        ("T", "fewer than two"),
        (None, "missing"),
        ("x" * 5001, "at most 5,000"),
        ("a\ud800", "half"),
    ],
)
def test_what_cannot_be_read_is_refused(compare_tab: CompareHandlers, text: Any, match: str) -> None:
    with refuses(match):
        compare_tab.read(BOTH, text, False)


# --- Uploads, the original GPT-2, links --------------------------------------------------------------------------


def test_an_uploaded_checkpoint_is_chosen_and_can_write(
    compare_tab: CompareHandlers, generate: Generate, catalogue: Catalogue, tmp_path: Path
) -> None:
    ready = catalogue.get("shipped/gpt2")
    save_checkpoint(tmp_path / "mine", ready.model, ready.tokenizer)  # type: ignore[arg-type]
    packed = shutil.make_archive(str(tmp_path / "mine"), "zip", tmp_path / "mine")
    seen, update = compare_tab.upload(Path(packed).read_bytes(), [], BOTH)
    (name,) = seen
    assert update.value == [*BOTH, name]
    uploaded, shipped = generate(names=[name, "shipped/gpt2"])[-1]["columns"]
    assert uploaded["text"] == shipped["text"]
    assert name not in [choice for _, choice in catalogue.choices([])]  # nobody else is told


@pytest.mark.parametrize("content", [b"", b"no zip", None, "text", 7])
def test_what_is_no_checkpoint_is_refused(compare_tab: CompareHandlers, content: Any) -> None:
    with refuses("(not a zip file|not a file)"):
        compare_tab.upload(content, [], BOTH)


def test_the_original_that_cannot_be_fetched_is_explained(
    compare_tab: CompareHandlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(_: str) -> None:
        raise PretrainedUnavailable("gpt2 could not be fetched; connect to the network")

    monkeypatch.setattr("gpt.checkpoints.pretrained.load_pretrained", offline)
    with refuses("could not be fetched"):
        compare_tab.fetch_original([], BOTH)


def test_a_link_sets_the_tab_up() -> None:
    link = {
        "tab": "compare",
        "models": ",".join(BOTH),
        "prompt": "KING",
        "temperature": "0.3",
        "top_k": "5",
        "seed": "9",
    }
    values = from_address(link)
    assert values["tab"].selected == "compare"
    set_up = [values[name] for name in ("models", "prompt", "temperature", "top_k", "seed")]
    assert set_up == [BOTH, "KING", 0.3, 5, 9]
    assert values["length"] == values["view"] == gr.skip()
    assert from_address({"view": "read", "reading": "import this"})["view"].selected == "read"


@pytest.mark.parametrize("value", ["", "nan", "inf", "-1", "x", "1e999", "9" * 5000])
def test_a_link_that_makes_no_sense_changes_nothing(value: str) -> None:
    names = ("tab", "view", "temperature", "length", "top_p", "second", "seed")
    values = from_address(dict.fromkeys(names, value) | {"prompt": "\ud800"})
    assert all(values[name] == gr.skip() for name in (*names, "prompt") if (name, value) != ("second", ""))


def test_models_with_other_tokens_are_compared_in_bits_per_byte_only(
    compare_tab: CompareHandlers, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tokenizer that gives two characters a token stands in for a BPE."""

    class Pairs:
        vocab_size = 2

        def unknown_characters(self, text: str) -> list[str]:
            return []

        def encode(self, text: str) -> list[int]:
            return [0] * (len(text) // 2)

        def decode(self, ids: Any) -> str:
            return "xy" * len(list(ids))

        def decode_stream(self, ids: Any) -> Any:
            return ("xy" for _ in ids)

    known = catalogue.get
    pairs = dataclasses.replace(known("shipped/gpt2"), tokenizer=Pairs())  # type: ignore[arg-type]
    monkeypatch.setattr(catalogue, "get", lambda name: pairs if name == "pairs" else known(name))
    value = json.loads(compare_tab.read(["shipped/gpt2", "pairs"], "The lazy dog", False))
    assert [[name for name, _ in model["totals"]] for model in value["models"]] == [["bits per byte"]] * 2
