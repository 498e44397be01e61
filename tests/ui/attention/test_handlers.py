"""Attention: what the page draws is what the model computes, and what cannot be drawn is said in a sentence."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from served import CONTEXT, SNAPSHOT, assert_same_weights, refuses, unpack_attention

from gpt import GPT2, attention_maps
from gpt.generation.stream import extend_ids
from gpt.interpret import ablated, head_in_numbers
from gpt.runs.run import Run
from gpt.runs.scheduler import Runs
from gpt.ui.attention import handlers, views
from gpt.ui.attention.handlers import AttentionHandlers, head_in_text
from gpt.ui.catalogue import Catalogue, at_step
from gpt.ui.door.asking import answering
from gpt.ui.door.files import Files
from gpt.ui.door.visitors import Visitors

TEXT = "The lazy dog dreams, and runs."


@pytest.fixture
def attention_tab(catalogue: Catalogue, files: Files) -> AttentionHandlers:
    """The Attention tab's handlers."""
    return AttentionHandlers(catalogue, files)


def sent(**data: Any) -> Any:
    """An event of a component, as a handler gets it."""
    return SimpleNamespace(**data)


def loss_of(model: GPT2, ids: torch.Tensor) -> float:
    """By the plain formula."""
    with torch.no_grad():
        return F.cross_entropy(model(ids[None, :-1])[0], ids[1:]).item()


def assert_shows(value: dict[str, Any], catalogue: Catalogue, name: str, text: str) -> None:
    """Fail unless the value holds that model's attention over that text, and no other's."""
    (pack,) = value["models"]
    assert_pack_shows(pack, catalogue, name, text)


def assert_pack_shows(value: dict[str, Any], catalogue: Catalogue, name: str, text: str) -> None:
    ready = catalogue.get(name)
    weights = attention_maps(ready.model, torch.tensor([ready.tokenizer.encode(text)]))[:, 0]
    assert_same_weights(unpack_attention(value), weights)
    assert value["tokens"] == list(text)
    assert value["label"] == ready.label
    assert value["colour"] == f"var(--variant-{ready.variant})"
    assert value["window"] == ready.model.config.window_size
    assert value["kv_heads"] == ready.model.config.kv_heads


@pytest.mark.parametrize("name", ["shipped/gpt2", "shipped/sliding-window"])
@pytest.mark.parametrize("text", ["T", TEXT, "fox\ndog", "dog " * (CONTEXT // 4)])
def test_the_map_is_the_models_attention(
    attention_tab: AttentionHandlers, catalogue: Catalogue, name: str, text: str
) -> None:
    value, slider, _ = attention_tab.look(name, "", text)
    assert_shows(value, catalogue, name, text)
    assert slider["steps"] == catalogue.steps(name)


def test_a_shipped_model_is_seen_as_it_learned(attention_tab: AttentionHandlers, catalogue: Catalogue) -> None:
    name = "shipped/sliding-window"
    _, slider, looked = attention_tab.look(name, "", TEXT)
    assert (slider["steps"], slider["index"]) == (catalogue.steps(name), len(catalogue.steps(name)) - 1)
    earlier, again, _ = attention_tab.look_at_step(looked, sent(step=SNAPSHOT))
    assert again["index"] == 0
    assert_shows(earlier, catalogue, at_step(name, SNAPSHOT), TEXT)


def test_trained_models_are_drawn_too(
    attention_tab: AttentionHandlers, catalogue: Catalogue, finished: Callable[..., Run]
) -> None:
    run = finished(variants=["rotary", "grouped-query", "modern"], num_kv_heads=1, window_size=4)
    for number in range(3):
        name = f"run/{run.key}/{number}"
        assert_shows(attention_tab.look(name, None, TEXT)[0], catalogue, name, TEXT)


def test_without_the_causal_mask_the_future_is_drawn(
    attention_tab: AttentionHandlers, finished: Callable[..., Run]
) -> None:
    run = finished(without_mask=True)
    looks = [attention_tab.look(f"run/{run.key}/{number}", "", TEXT) for number in (0, 1)]
    values = [value["models"][0] for value, _, _ in looks]
    assert [value["causal"] for value in values] == [True, False]
    assert unpack_attention(values[1]).triu(1).sum() > 0


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("shipped/gpt2", "", "The text is empty"),
        ("shipped/gpt2", None, "The text is missing"),
        ("shipped/gpt2", ["T"], "The text is missing"),
        ("shipped/gpt2", "o" * (CONTEXT + 1), "The text has 33 characters; gpt2 looks at 32 at most"),
        ("shipped/gpt2", "o" * 100_001, "The text has 100,001 characters"),
        ("shipped/gpt2", "dog \ud800", "half a character"),
        ("shipped/gpt2", "dog #7", "never seen '#' '7'"),
        ("shipped/gpt2", "<img src=x>", "never seen '<'"),
        ("shipped/mamba", TEXT, "This model is no longer here"),
        ("shipped/../../etc", TEXT, "This model is no longer here"),
        ("", TEXT, "This model is no longer here"),
        (None, TEXT, "This model is no longer here"),
        ([], TEXT, "This model is no longer here"),
    ],
    ids=lambda value: f"{value!r:.20}",
)
def test_what_cannot_be_drawn_is_refused(attention_tab: AttentionHandlers, name: Any, text: Any, match: str) -> None:
    with refuses(match):
        attention_tab.look(name, "", text)


def test_two_models_are_drawn_beside_each_other(attention_tab: AttentionHandlers, catalogue: Catalogue) -> None:
    value, _, looked = attention_tab.look("shipped/gpt2", "shipped/sliding-window", TEXT)
    for pack, name in zip(value["models"], ("shipped/gpt2", "shipped/sliding-window"), strict=True):
        assert_pack_shows(pack, catalogue, name, TEXT)
    states = attention_tab.measure(looked)[2]["states"]
    assert [state["label"] for state in states] == ["gpt2", "sliding-window"]
    ids = torch.tensor(catalogue.get("shipped/gpt2").tokenizer.encode(TEXT))
    losses = [loss_of(catalogue.get(f"shipped/{name}").model, ids) for name in ("gpt2", "sliding-window")]
    assert [float(state["loss"].split(" ")[0]) for state in states] == pytest.approx(losses, abs=0.01)
    assert float(states[1]["change"].split(" ")[0].replace("−", "-")) == pytest.approx(losses[1] - losses[0], abs=0.01)


def test_a_second_model_that_cannot_be_shown_is_refused(attention_tab: AttentionHandlers) -> None:
    for second, match in (("shipped/mamba", "no longer here"), (["x"], "no longer here")):
        with refuses(match):
            attention_tab.look("shipped/gpt2", second, TEXT)


# --- As it learned --------------------------------------------------------------------------------------------------


def test_each_step_shows_what_the_stored_snapshot_computes(
    attention_tab: AttentionHandlers, catalogue: Catalogue, finished: Callable[..., Run]
) -> None:
    run = finished(steps=10)
    name = f"run/{run.key}/0"
    _, slider, looked = attention_tab.look(name, "", TEXT)
    assert {0, 1, 3, 10} <= set(slider["steps"])
    assert slider["steps"][slider["index"]] == run.members[0].best.step
    for index, step in enumerate(slider["steps"]):
        value, again, at_this = attention_tab.look_at_step(looked, sent(step=step))
        assert (again["steps"], again["index"]) == (slider["steps"], index)
        model = run.members[0].model_at(step)
        ids = torch.tensor(run.corpus.tokenizer.encode(TEXT))
        assert_same_weights(unpack_attention(value["models"][0]), attention_maps(model, ids[None])[:, 0])
        following = attention_tab.measure(at_this)[2]
        (state,), tokens = following["states"], following["tokens"]
        with torch.no_grad():
            expected = model(ids[None])[0, -1].softmax(dim=-1)
        shown = [expected[run.corpus.tokenizer.stoi[token]].item() for token in tokens]
        assert state["probabilities"] == pytest.approx(shown, abs=1e-5)
        written = extend_ids(model, ids[None], max_new_tokens=80, temperature=0.8, seed=1337)[0, len(ids) :]
        assert state["text"] == run.corpus.tokenizer.decode(written.tolist())
        assert catalogue.step_of(at_step(name, step)) == step


def test_a_step_that_was_not_kept_is_refused(attention_tab: AttentionHandlers, finished: Callable[..., Run]) -> None:
    run = finished(steps=10)
    _, _, looked = attention_tab.look(f"run/{run.key}/0", "", TEXT)
    for step in (None, "3", True, -1, 2, 10**12, math.nan, [3]):
        with refuses("[Ss]tep"):
            attention_tab.look_at_step(looked, sent(step=step))


def test_a_shipped_model_has_no_other_steps(attention_tab: AttentionHandlers) -> None:
    _, _, looked = attention_tab.look("shipped/gpt2", "", TEXT)
    with refuses("No other steps"):
        attention_tab.look_at_step(looked, sent(step=3))


# --- What heads do, and what ablating them changes -------------------------------------------------------------------


def test_every_head_has_a_row_of_defined_numbers(attention_tab: AttentionHandlers) -> None:
    _, _, looked = attention_tab.look("shipped/sliding-window", "", TEXT)
    table = json.loads(attention_tab.measure(looked)[0])
    assert len(table["rows"]) == 2 * 4
    assert all(column["definition"] and column["name"] for column in table["columns"])
    for row in table["rows"]:
        assert set(row["values"]) == set(row["errors"]) == {column["key"] for column in table["columns"]}


def test_ablating_shows_what_an_ablated_model_computes(attention_tab: AttentionHandlers, catalogue: Catalogue) -> None:
    _, _, looked = attention_tab.look("shipped/gpt2", "", TEXT)
    *_, last = attention_tab.ablate_each(looked)
    value = json.loads(last)
    model = catalogue.get("shipped/gpt2").model
    ids = torch.tensor(catalogue.get("shipped/gpt2").tokenizer.encode(TEXT))
    whole = loss_of(model, ids)
    assert value["loss"] == pytest.approx(whole, abs=1e-5)
    for layer in range(2):
        for head in range(4):
            cost = loss_of(ablated(model, [(layer, head)]), ids) - whole
            assert value["costs"][layer][head] == pytest.approx(cost, abs=2e-5)
    answer, following = attention_tab.ablate(looked, sent(heads=[[0, 1], [1, 2]], kv_heads=[]))
    changed = ablated(model, [(0, 1), (1, 2)])
    assert json.loads(answer)["ablated"] == [[0, 1], [1, 2]]
    assert json.loads(answer)["now"]["loss"] == pytest.approx(loss_of(changed, ids), abs=1e-5)
    states, tokens = following["states"], following["tokens"]
    with torch.no_grad():
        expected = changed(ids[None])[0, -1].softmax(dim=-1)
    stoi = catalogue.get("shipped/gpt2").tokenizer.stoi
    assert states[1]["probabilities"] == pytest.approx([expected[stoi[token]].item() for token in tokens], abs=1e-5)
    answer, following = attention_tab.ablate(looked, sent(heads=[], kv_heads=[]))
    assert json.loads(answer)["now"] is None
    assert len(following["states"]) == 1


def test_heads_that_are_not_there_are_refused_and_nothing_changes(attention_tab: AttentionHandlers) -> None:
    _, _, looked = attention_tab.look("shipped/gpt2", "", TEXT)
    attention_tab.ablate(looked, sent(heads=[[0, 1]], kv_heads=[]))
    for heads in (None, "all", [[0]], [0, 1], [[0, 99]], [[99, 0]], [[-1, 0]], [[True, 0]], [["0", 0]], [[0.5, 0]], {}):
        with refuses("[Hh]ead|layer"):
            attention_tab.ablate(looked, sent(heads=heads, kv_heads=[]))
    assert json.loads(next(attention_tab.ablate_each(looked)))["ablated"] == [[0, 1]]


def test_ablating_a_shared_head_names_who_reacts(
    attention_tab: AttentionHandlers, finished: Callable[..., Run]
) -> None:
    run = finished(variants=["grouped-query"], num_kv_heads=1)
    _, _, looked = attention_tab.look(f"run/{run.key}/0", "", TEXT)
    *_, last = attention_tab.ablate_each(looked)
    value = json.loads(last)
    heads = run.members[0].config.num_heads
    assert value["kv_heads"] == 1
    assert value["kv_reactions"] == [[[pytest.approx(1.0)] * heads]] * run.members[0].config.num_layers


def test_one_character_has_a_map_but_no_loss(attention_tab: AttentionHandlers) -> None:
    _, _, looked = attention_tab.look("shipped/gpt2", "", "T")
    _, field, following, _ = attention_tab.measure(looked)
    assert json.loads(field)["inside"] == 1
    assert following["states"][0]["loss"] == ""
    assert "one token" in list(attention_tab.ablate_each(looked))[-1]["empty"]


# --- What can reach a token -----------------------------------------------------------------------------------------


def test_the_cone_and_the_influence_agree(attention_tab: AttentionHandlers) -> None:
    _, _, looked = attention_tab.look("shipped/sliding-window", "", TEXT)
    field = json.loads(attention_tab.trace(looked, sent(position=20)))
    assert field["formula"] == "2 × (5 − 1) + 1 = 9"
    assert field["cone"] == [[12, 20], [16, 20], [20, 20]]
    assert field["outside"] == 0
    for (first, last), row in zip(field["cone"], field["influence"], strict=True):
        assert all((share > 0) <= (first <= key <= last) for key, share in enumerate(row))
        assert max(row) == 1


def test_a_token_that_is_not_there_is_refused(attention_tab: AttentionHandlers) -> None:
    _, _, looked = attention_tab.look("shipped/gpt2", "", TEXT)
    for position in (None, -1, len(TEXT), "3", True, [1], math.inf):
        with refuses("The token"):
            attention_tab.trace(looked, sent(position=position))


# --- One head in numbers --------------------------------------------------------------------------------------------


def vectors_in(packed: str, like: torch.Tensor) -> torch.Tensor:
    """The vectors (T, head_dim) that were sent."""
    return torch.from_numpy(np.frombuffer(base64.b64decode(packed), "<f4").copy()).view(like.shape)


@pytest.mark.parametrize("name", ["shipped/gpt2", "shipped/sliding-window"])
def test_one_head_in_numbers_is_the_models(attention_tab: AttentionHandlers, catalogue: Catalogue, name: str) -> None:
    _, _, looked = attention_tab.look(name, "", TEXT)
    assert attention_tab.measure(looked)[3]["edition"] != attention_tab.measure(looked)[3]["edition"]
    shown = json.loads(attention_tab.follow(looked, sent(layer=1, head=2, position=20)))
    ready = catalogue.get(name)
    ids = torch.tensor(ready.tokenizer.encode(TEXT))
    one = head_in_numbers(ready.model, ids, 1, 2, 20)
    for key, numbers in (("query", one.query), ("products", one.products), ("output", one.output)):
        assert torch.equal(torch.tensor(shown[key]), numbers), key
    weights = torch.tensor(shown["weights"])
    torch.testing.assert_close(weights, attention_maps(ready.model, ids[None])[1, 0, 2, 20])
    assert torch.equal(vectors_in(shown["keys"], one.keys), one.keys)
    assert torch.equal(vectors_in(shown["values"], one.values), one.values)
    assert [cause == "" for cause in shown["forbidden"]] == one.allowed.tolist()
    assert [score is None for score in shown["scores"]] == [cause != "" for cause in shown["forbidden"]]
    assert (shown["tokens"], shown["label"], shown["kv"]) == (list(TEXT), ready.label, None)
    assert (shown["layer"], shown["head"], shown["position"]) == (1, 2, 20)


def test_a_head_that_is_shared_and_turned_says_so(
    attention_tab: AttentionHandlers, catalogue: Catalogue, finished: Callable[..., Run]
) -> None:
    run = finished(variants=["modern"], num_kv_heads=1, window_size=4)
    name = f"run/{run.key}/0"
    _, _, looked = attention_tab.look(name, "", TEXT)
    shown = json.loads(attention_tab.follow(looked, sent(layer=0, head=1, position=9)))
    ready = catalogue.get(name)
    one = head_in_numbers(ready.model, torch.tensor(ready.tokenizer.encode(TEXT)), 0, 1, 9)
    assert torch.equal(vectors_in(shown["keys"], one.keys), one.keys)
    assert not torch.equal(one.keys, one.keys_before)
    for key, vector in (("before", one.query_before), ("query", one.query)):
        assert torch.equal(torch.tensor(shown[key]), vector), key
    assert shown["kv"] == 0
    assert shown["angles"] == pytest.approx([9 * speed for speed in shown["speeds"]])
    assert shown["forbidden"] == ["window"] * 6 + [""] * 4 + ["future"] * (len(TEXT) - 10)


def test_a_place_that_is_not_there_is_refused(attention_tab: AttentionHandlers) -> None:
    _, _, looked = attention_tab.look("shipped/gpt2", "", TEXT)
    there = {"layer": 0, "head": 0, "position": 0}
    for name, what, count in (("layer", "layer", 2), ("head", "head", 4), ("position", "token", len(TEXT))):
        for odd in (None, -1, count, "0", True, [0], math.inf, {}):
            with refuses(f"The {what}"):
                attention_tab.follow(looked, sent(**there | {name: odd}))
    for gone in (None, "", ["gone", "shipped/gpt2", ""], {"key": 1}):
        with refuses("press Look"):
            attention_tab.follow(gone, sent(**there))


def test_heads_of_too_many_numbers_are_not_listed(
    attention_tab: AttentionHandlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "_MOST_DIMENSIONS", 4)
    _, _, looked = attention_tab.look("shipped/gpt2", "", TEXT)
    assert "have 8 numbers each; those of at most 4" in attention_tab.measure(looked)[3]["empty"]
    with refuses("have 8 numbers each"):
        attention_tab.follow(looked, sent(layer=0, head=0, position=0))


# --- Taking home, and looks that are gone ---------------------------------------------------------------------------


def test_pictures_and_weights_to_take_home(attention_tab: AttentionHandlers, catalogue: Catalogue) -> None:
    _, _, looked = attention_tab.look("shipped/sliding-window", "", TEXT)
    files = [Path(path) for path in attention_tab.export(looked, "1,2")]
    assert [path.suffix for path in files] == [".png", ".svg", ".png", ".svg", ".npz"]
    assert files[0].name == "layer-2-head-3.png"
    ready = catalogue.get("shipped/sliding-window")
    with np.load(files[-1], allow_pickle=False) as archive:
        weights = attention_maps(ready.model, torch.tensor([ready.tokenizer.encode(TEXT)]))[:, 0]
        assert np.array_equal(archive["weights"], weights.numpy())
        assert "".join(archive["tokens"]) == TEXT
        assert not archive["weights"][:, :, ~archive["allowed"]].any()
    assert "<svg" in files[1].read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("chosen", "head"),
    [
        *(("1,2", (1, 2)), ("0,0", (0, 0)), ("7,9", (1, 3))),
        *((odd, (0, 0)) for odd in ("x", "", None, "1,2,3", "../..,1", "-1,0", "9999,0", [1, 2])),
    ],
)
def test_the_head_to_take_home_is_one_that_is_there(catalogue: Catalogue, chosen: Any, head: tuple[int, int]) -> None:
    assert head_in_text(chosen, catalogue.get("shipped/gpt2").model.config) == head


@pytest.mark.parametrize("looked", ["", [], ["gone", "shipped/gpt2", ""], {"key": 1}, 3])
def test_a_look_that_is_gone_says_so(attention_tab: AttentionHandlers, looked: Any) -> None:
    with refuses("press Look"):
        attention_tab.measure(looked)
    with refuses("press Look"):
        attention_tab.trace(looked, sent(position=0))


def test_a_late_answer_does_not_cover_a_newer_look(attention_tab: AttentionHandlers) -> None:
    _, _, first = attention_tab.look("shipped/gpt2", "", TEXT)
    costs = attention_tab.ablate_each(first)
    next(costs)
    _, _, second = attention_tab.look("shipped/gpt2", "", TEXT[:9], first)
    assert all(view.get("__type__") == "update" for view in attention_tab.measure(first))
    assert list(costs) == []
    assert attention_tab.follow(first, sent(layer=0, head=0, position=0)).get("__type__") == "update"
    assert "rows" in json.loads(attention_tab.measure(second)[0])


def test_what_was_asked_last_is_seen_last(
    attention_tab: AttentionHandlers, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page opens the tab and chooses another model before the first is drawn, whose answer comes last."""
    takes, later = views.take_look, []

    def choose_another_meanwhile(*asked: Any) -> views.Look:
        monkeypatch.setattr(views, "take_look", takes)
        with answering("a page", ""):
            later.append(attention_tab.look("shipped/gpt2", "", TEXT))
        return takes(*asked)

    monkeypatch.setattr(views, "take_look", choose_another_meanwhile)
    with answering("a page", ""):
        first = attention_tab.opened([], "shipped/sliding-window", "", TEXT)
    assert all(update.get("__type__") == "update" for update in first[:-1]), "nothing covers the newer look"
    assert not any("value" in update for update in first[:-1])
    ((value, _, looked),) = later
    assert_shows(value, catalogue, "shipped/gpt2", TEXT)
    assert "rows" in json.loads(attention_tab.measure(looked)[0]), "the newer look is the present one"


def test_old_looks_are_forgotten(attention_tab: AttentionHandlers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "MOST_LOOKS", 2)
    _, _, first = attention_tab.look("shipped/gpt2", "", "T")
    for _ in range(2):
        _, _, last = attention_tab.look("shipped/gpt2", "", "T")
    attention_tab.measure(last)
    with refuses("press Look"):
        attention_tab.measure(first)


# --- Opening the tab ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "shown"),
    [("shipped/sliding-window", "shipped/sliding-window"), (None, "shipped/gpt2"), ("run/gone/0", "shipped/gpt2")],
)
def test_opening_shows_the_chosen_model_or_the_first(
    attention_tab: AttentionHandlers, catalogue: Catalogue, chosen: Any, shown: str
) -> None:
    update, _, value, _, looked, _ = attention_tab.opened([], chosen, "", TEXT)
    assert update.get("value", chosen) == shown
    assert ("value" in update) == (chosen != shown), "by now the page may have chosen another"
    assert looked[1] == shown
    assert_shows(value, catalogue, shown, TEXT)


def test_opening_offers_what_was_trained(attention_tab: AttentionHandlers, finished: Callable[..., Run]) -> None:
    run = finished()
    update, *_ = attention_tab.opened([run.key], "shipped/gpt2", "", TEXT)
    assert f"run/{run.key}/0" in [name for _, name in update["choices"]]
    assert "value" not in update


def test_opening_without_models_draws_nothing(tmp_path: Path, runs: Runs, visitors: Visitors, files: Files) -> None:
    update, *_ = AttentionHandlers(Catalogue(tmp_path, runs, visitors), files).opened([], None, "", TEXT)
    assert update["choices"] == []


def test_a_text_that_does_not_fit_does_not_hide_what_was_trained(
    attention_tab: AttentionHandlers, finished: Callable[..., Run]
) -> None:
    """A visitor with too long a text in the box trains a model and comes back: it has to be in the list."""
    run = finished()
    update, _, value, _, looked, _ = attention_tab.opened([run.key], "shipped/gpt2", "", "o" * (CONTEXT + 1))
    assert "at most" in value["empty"]
    assert all("empty" in below for below in attention_tab.measure(looked))
    assert f"run/{run.key}/0" in [name for _, name in update["choices"]]


def test_a_link_opens_a_model_as_it_was_at_a_step(attention_tab: AttentionHandlers) -> None:
    name = "shipped/sliding-window"
    for asked, looked_at in ((SNAPSHOT, f"{name}@{SNAPSHOT}"), (10**9, name), (None, name), ("x", name), (True, name)):
        *_, slider, looked, left = attention_tab.opened([], name, "", TEXT, None, asked)
        assert (looked[1], left) == (looked_at, None)
        assert slider["steps"][slider["index"]] == (SNAPSHOT if asked == SNAPSHOT else slider["steps"][-1])
