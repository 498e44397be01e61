"""Training: controls become a run, a run is watched and controlled by its owner, and watchers do it no harm."""

from __future__ import annotations

import asyncio
import errno
import inspect
import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from served import (
    ANNA,
    BEN,
    NO_NUMBERS,
    SHIPPED,
    STORY,
    assert_sentence,
    collect,
    controls,
    numeric_controls,
    page_defaults,
    refuses,
    settings,
)

import gpt
from gpt import VARIANTS, CorpusUnavailable
from gpt.exports import corpus_text
from gpt.run import Run
from gpt.runs import Runs
from gpt.ui import train_settings as module
from gpt.ui.catalogue import Catalogue
from gpt.ui.train_settings import CONTEXTS, LARGEST_OWN_TEXT, OWN_TEXT, SIZES, TrainSettings, preview_text
from gpt.ui.train_tab import TrainHandlers, read_upload

FOREVER = 5000  # steps; no test waits for their end
FOUR_HEADS = next(name for name, size in SIZES.items() if size["num_heads"] == 4)


def key_of(watched: str) -> str:
    """The run that the page is told to watch."""
    return watched.partition(" ")[0]


def press(tab: TrainHandlers, button: str, visitor: Any, watched: Any, seen: Any = (), **changes: Any) -> Any:
    """Press a button while this run is on the page; handlers take what they need of it, by name."""
    held = {"secret": visitor, "seen": list(seen), "watched": watched, **settings(**changes)}
    names = inspect.signature(getattr(tab, button)).parameters
    rest = controls(**changes) if "controls" in names else []
    return getattr(tab, button)(*(held[name] for name in names if name != "controls"), *rest)


def hands(view: tuple[Any, ...]) -> list[Any]:
    """The buttons Pause, Step and Stop of a view."""
    return list(view[-3:])


def chart_labels(view: tuple[Any, ...]) -> list[str]:
    """The names of the curves in a view."""
    return [curve["label"] for curve in view[0]["series"]]


# --- Settings -------------------------------------------------------------------------------------------------------


def test_the_page_opens_with_settings_that_work() -> None:
    opened = TrainSettings(**page_defaults())
    assert [field.name for field in fields(opened)] == list(page_defaults())


@pytest.mark.parametrize("variant", VARIANTS)
def test_settings_become_the_variant_asked_for(start: Callable[..., Run], variant: str) -> None:
    run = start(variants=[variant], size=FOUR_HEADS, window_size=6, num_kv_heads=2)
    ((label, config),) = run.request.models
    assert label == variant
    assert config.context_length == 32
    assert config.num_heads == 4
    assert config.window_size == (6 if variant in ("sliding-window", "modern") else None)
    assert config.kv_heads == (2 if variant in ("grouped-query", "modern") else 4)
    assert config.positions == ("rotary" if variant in ("rotary", "modern") else "learned")
    assert config.causal


def test_sliders_send_floats(start: Callable[..., Run]) -> None:
    whole = {name: value for name, value in settings().items() if name in numeric_controls() and value == int(value)}
    floats = {name: float(value) for name, value in whole.items() if name not in ("context_length", "rate_multiple")}
    assert start(ANNA, **floats) is start(BEN)


def test_each_setting_reaches_the_run(start: Callable[..., Run]) -> None:
    run = start(steps=17, batch_size=3, seed=99, seeds=2, rate_multiple=3)
    training = run.request.training
    assert (training.max_steps, training.batch_size, training.seed, run.request.seeds) == (17, 3, 99, 2)
    assert [member.seed for member in run.members] == [99, 100]
    plain = start(BEN).request.training
    assert training.learning_rate == pytest.approx(3 * plain.learning_rate)
    assert training.matrix_learning_rate == pytest.approx(3 * plain.matrix_learning_rate)


def test_recipes_differ(start: Callable[..., Run]) -> None:
    fast, published = (start(visitor, recipe=name) for visitor, name in ((ANNA, "fast"), (BEN, "nanogpt")))
    assert fast.request.training.matrix_learning_rate is not None
    assert published.request.training.matrix_learning_rate is None
    assert published.request.training.schedule == "cosine"


def test_without_the_mask_a_second_model_is_trained(start: Callable[..., Run]) -> None:
    run = start(variants=["gpt2", "rotary"], without_mask=True)
    assert [(label, config.causal) for label, config in run.request.models] == [
        ("gpt2", True), ("rotary", True), ("gpt2, no mask", False), ("rotary, no mask", False)
    ]  # fmt: skip


def test_windows_line_ends_make_no_other_run(start: Callable[..., Run]) -> None:
    assert start(ANNA) is start(BEN, own_text=STORY.replace("\n", "\r\n"))


# --- What is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_what_is_no_number_is_refused_by_every_control(train_tab: TrainHandlers, value: Any) -> None:
    taken = []
    for name in numeric_controls():
        try:
            with refuses("."):
                train_tab.train(ANNA, [], *controls(**{name: value}))
        except BaseException as error:  # of another kind, or none at all
            taken.append(f"{name}: {error!r}")
    assert not taken


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"variants": []}, "No variant is chosen; choose at least one"),
        ({"variants": ["mamba"]}, "Variants is 'mamba'; choose one of gpt2"),
        ({"variants": "gpt2"}, "give a list of names"),
        ({"variants": None}, "give a list of names"),
        ({"variants": [["gpt2"]]}, "Variants is"),
        ({"variants": list(VARIANTS), "seeds": 3}, "15 models, and at most 6"),
        ({"without_mask": None}, "The mask switch is None"),
        ({"without_mask": 1}, "The mask switch is 1"),
        ({"size": "gigantic"}, "Size is 'gigantic'; choose one of tiny"),
        ({"size": None}, "Size is None"),
        ({"size": []}, r"Size is \[\]"),
        ({"text": "bible"}, "Text is 'bible'; choose one of shakespeare, python-docs"),
        ({"text": "/etc/passwd"}, "Text is '/etc/passwd'"),
        ({"recipe": "best"}, "Recipe is 'best'; choose one of fast, showcase, nanogpt"),
        ({"context_length": 33}, "Context is 33; choose one of 32"),
        ({"steps": 0}, "Steps is 0; give 1 or more"),
        ({"steps": 5001}, "Steps is 5001; at most 5,000"),
        ({"steps": 2.5}, "Steps is 2.5; give a whole number"),
        ({"rate_multiple": 0}, "The learning rate's multiple is 0"),
        ({"seeds": 4}, "Seeds is 4; at most 3"),
        (
            {"size": FOUR_HEADS, "variants": ["grouped-query"], "num_kv_heads": 3},
            r"\(4\) must be divisible by .* \(3\)",
        ),
        ({"size": FOUR_HEADS, "variants": ["modern"], "num_kv_heads": 6}, r"\(4\) must be divisible by .*\(6\)"),
        ({"own_text": ""}, "holds no text"),
        ({"own_text": "a"}, "only the character 'a'"),
        ({"own_text": "a" * 5000}, "only the character 'a'"),
        ({"own_text": "ab"}, "has 2 characters; give at least 20"),
        ({"own_text": "ab" * 12}, "a context of 32 needs at least 33"),
        ({"own_text": STORY + "\ud800"}, "half a character"),
        ({"own_text": "ab" * (LARGEST_OWN_TEXT // 2) + "c"}, "2,000,001 characters; at most 2,000,000"),
        ({"own_text": "".join(map(chr, range(0x4E00, 0x4E00 + 12_000)))}, "12,000 different characters"),
        ({"own_text": None}, "Your own text is missing"),
        ({"own_text": 7}, "Your own text is missing"),
        ({"own_text": ["a"]}, "Your own text is missing"),
        ({"batch_size": 64, "context_length": CONTEXTS[-1], "own_text": STORY * 9}, ""),
    ],
    ids=lambda value: f"{value!r:.50}",
)
def test_what_cannot_be_is_refused(train_tab: TrainHandlers, changes: dict[str, Any], match: str) -> None:
    if match:
        with refuses(match):
            train_tab.train(ANNA, [], *controls(**changes))
    else:  # at the limit, and still allowed
        train_tab.train(ANNA, [], *controls(**changes))


def test_a_refusal_leaves_the_visitors_run_alone(train_tab: TrainHandlers, start: Callable[..., Run]) -> None:
    run = start(steps=FOREVER)
    with refuses("No variant"):
        train_tab.train(ANNA, [run.key], *controls(variants=[]))
    assert not run.is_over


# --- Texts ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_shakespeare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny Shakespeare cannot be had."""
    load = gpt.corpus.load_corpus

    def unavailable(name: str) -> Any:
        if name == "shakespeare":
            raise CorpusUnavailable("Tiny Shakespeare could not be fetched")
        return load(name)

    monkeypatch.setattr(gpt.corpus, "load_corpus", unavailable)
    module._named_corpus.cache_clear()


@pytest.mark.usefixtures("no_shakespeare")
def test_without_shakespeare_the_built_in_text_is_taken_and_said(start: Callable[..., Run], notices: list[str]) -> None:
    run = start(text="shakespeare")
    assert run.corpus.name == "python-docs"
    assert notices == ["Tiny Shakespeare could not be fetched. Training on python-docs instead."]


@pytest.mark.usefixtures("no_shakespeare")
def test_other_texts_need_no_notice(start: Callable[..., Run], notices: list[str]) -> None:
    assert start(ANNA, text="python-docs").corpus.name == "python-docs"
    assert start(BEN, text=OWN_TEXT).corpus.name == OWN_TEXT
    assert notices == []


# --- Visitors -------------------------------------------------------------------------------------------------------


def test_a_newcomer_gets_a_secret_and_owns_their_run(train_tab: TrainHandlers, runs: Runs) -> None:
    watched, seen, secret = train_tab.train("", [], *controls(steps=FOREVER))
    run = runs.find(key_of(watched))
    assert run is not None
    assert seen == [run.key]
    assert len(secret) >= 16
    assert run.owner == secret
    assert train_tab.train(secret, seen, *controls(steps=20))[2] == secret


def test_a_secret_is_never_shown_to_others(train_tab: TrainHandlers, start: Callable[..., Run]) -> None:
    run = start(ANNA, steps=FOREVER)
    answers = [
        train_tab.train(BEN, [], *controls(steps=FOREVER)),
        train_tab.rejoin("", [], SimpleNamespace(query_params={"run": run.key})),
        train_tab.stop(BEN, run.key),
    ]
    assert ANNA not in repr(answers)


def test_equal_settings_join_one_run_and_the_first_owns_it(train_tab: TrainHandlers, runs: Runs) -> None:
    first, _, _ = train_tab.train(ANNA, [], *controls(steps=FOREVER))
    second, _, _ = train_tab.train(BEN, [], *controls(steps=FOREVER))
    assert key_of(first) == key_of(second)
    assert first != second  # or the second press would not be a change for the page to see
    assert runs.find(key_of(first)).owner == ANNA


def test_the_runs_seen_are_listed_once_the_latest_last_and_not_without_end(train_tab: TrainHandlers) -> None:
    seen: Any = None
    keys = []
    for steps in [*range(10, 25), 23]:
        watched, seen, _ = train_tab.train(ANNA, seen, *controls(steps=steps))
        keys.append(key_of(watched))
    assert len(seen) == len(set(seen)) == 12
    assert seen[-1] == keys[-1]


# --- Watching -------------------------------------------------------------------------------------------------------


def test_watching_goes_on_until_the_run_is_done(train_tab: TrainHandlers, start: Callable[..., Run]) -> None:
    run = start(variants=["gpt2", "modern"], steps=30)
    views = asyncio.run(collect(train_tab.watch(f"{run.key} 1")))
    shares = [view[1]["share"] for view in views]
    assert shares == sorted(shares)
    last = views[-1]
    assert last[1]["sentence"].startswith("Done: 30 steps, ")
    assert chart_labels(last) == ["gpt2", "modern"]
    assert last[0]["series"][0]["steps"].split()[-1] == "30"
    assert [button["interactive"] for button in hands(last)[1:]] == [False, False]


@pytest.mark.parametrize("watched", ["", "0123456789ab 3", None, 7, [], {"run": 1}], ids=repr)
def test_watching_nothing_shows_the_shipped_models(train_tab: TrainHandlers, watched: Any) -> None:
    (view,) = asyncio.run(collect(train_tab.watch(watched)))
    assert chart_labels(view) == ["gpt2", "sliding-window"]
    assert [button["interactive"] for button in hands(view)] == [False] * 3


def test_a_page_has_one_watch(train_tab: TrainHandlers, start: Callable[..., Run]) -> None:
    run = start(steps=FOREVER)
    page = SimpleNamespace(session_hash="page")

    async def watch_twice() -> tuple[list[Any], Any]:
        earlier = train_tab.watch(f"{run.key} 1", page)
        views = [await anext(earlier)]
        rest = asyncio.ensure_future(collect(earlier))
        later = train_tab.watch(f"{run.key} 2", page)
        view = await anext(later)
        assert rest.done()  # before the later one shows anything
        assert (run.watchers, train_tab.watches.count("page")) == (1, 1)
        await later.aclose()
        return views + rest.result(), view

    views, view = asyncio.run(watch_twice())
    assert views[-1][1]["version"] <= view[1]["version"]
    assert run.watchers == 0


def test_a_page_hears_how_far_its_run_is(train_tab: TrainHandlers, start: Callable[..., Run]) -> None:
    run = start(steps=FOREVER)
    before = run.last_watched
    first = train_tab.still_watching(run.key)
    assert first is not None
    assert run.last_watched >= before
    train_tab.stop(ANNA, run.key)
    later = train_tab.still_watching(run.key)
    assert later is not None
    assert later > first
    for unknown in ("", "0123456789ab", None, 7, [], {}):
        assert train_tab.still_watching(unknown) is None


def test_a_watch_shows_the_stop_itself_after_all_else(train_tab: TrainHandlers, start: Callable[..., Run]) -> None:
    run = start(steps=FOREVER)

    async def watch_and_stop() -> tuple[Any, list[Any]]:
        watching = train_tab.watch(f"{run.key} 1", SimpleNamespace(session_hash="page"))
        await anext(watching)  # Gradio may send this after what Stop returns
        stopped = train_tab.stop(ANNA, f"{run.key} 1")
        return stopped, await collect(watching)

    stopped, rest = asyncio.run(watch_and_stop())
    assert stopped[1]["sentence"].startswith("Stopped. Step ")
    assert rest[-1][1]["sentence"].startswith("Stopped. Step ")
    assert stopped[-1] == gr.skip()  # the page goes on watching it


def test_rejoining_by_the_address(train_tab: TrainHandlers, start: Callable[..., Run]) -> None:
    run = start(steps=FOREVER)
    watched, seen = train_tab.rejoin("", [], SimpleNamespace(query_params={"run": run.key}))[:2]
    assert key_of(watched) == run.key
    assert seen == [run.key]


@pytest.mark.parametrize("query", [{}, {"run": "0123456789ab"}, {"run": "../../etc"}, {"other": "x"}], ids=repr)
def test_an_address_without_a_run_changes_nothing(train_tab: TrainHandlers, query: dict[str, str]) -> None:
    watched, seen, chart, _ = train_tab.rejoin("", [], SimpleNamespace(query_params=query))
    assert [curve["label"] for curve in chart["series"]] == SHIPPED  # how the shipped models learned
    for answer in (watched, seen):
        assert answer == {"__type__": "update"}


# --- Control --------------------------------------------------------------------------------------------------------


@pytest.fixture
def running(start: Callable[..., Run], wait_until: Callable[..., None]) -> Run:
    """Anna's run, under way."""
    run = start(ANNA, steps=FOREVER)
    wait_until(lambda: run.step >= 2, "two steps")
    return run


def test_pause_step_and_go_on(train_tab: TrainHandlers, running: Run, wait_until: Callable[..., None]) -> None:
    watched, _, secret = press(train_tab, "pause", ANNA, running.key)
    assert (key_of(watched), secret) == (running.key, ANNA)
    wait_until(lambda: running.status == "paused", "the pause")
    held = running.step
    for more in (1, 2):
        press(train_tab, "step_once", ANNA, running.key)
        wait_until(lambda: running.status == "paused", "the pause")
        assert running.step == held + more
    press(train_tab, "pause", ANNA, watched)
    wait_until(lambda: running.step > held + 2, "the run to go on")
    assert not running.is_over


def test_a_paused_run_offers_to_go_on(train_tab: TrainHandlers, running: Run, wait_until: Callable[..., None]) -> None:
    press(train_tab, "pause", ANNA, running.key)
    wait_until(lambda: running.status == "paused", "the pause")

    async def first_view() -> Any:
        watching = train_tab.watch(running.key)
        view = await anext(watching)
        await watching.aclose()
        return view

    view = asyncio.run(first_view())
    assert view[1]["sentence"].startswith("Paused. Step ")
    assert hands(view)[0]["value"] == "Go on"
    assert False not in [button["interactive"] for button in hands(view)]


def test_stop_ends_the_owners_run(train_tab: TrainHandlers, running: Run) -> None:
    view = train_tab.stop(ANNA, running.key)
    assert running.status == "stopped"
    assert view[1]["sentence"].startswith("Stopped. Step ")
    assert chart_labels(view) == ["gpt2"]
    assert train_tab.stop(ANNA, running.key)[1]["sentence"] == view[1]["sentence"]


def test_training_a_stopped_run_again_begins_anew(train_tab: TrainHandlers, running: Run, runs: Runs) -> None:
    train_tab.stop(ANNA, running.key)
    watched, _, _ = train_tab.train(BEN, [], *controls(steps=FOREVER))
    again = runs.find(key_of(watched))
    assert again is not running
    assert again.owner == BEN
    assert not again.is_over


def test_a_watchers_stop_leaves_and_does_not_stop(train_tab: TrainHandlers, running: Run) -> None:
    view = train_tab.stop(BEN, running.key)
    assert chart_labels(view) == ["gpt2", "sliding-window"]
    assert view[-1] == ""  # the page watches nothing, which ends its watch
    assert running.status == "running"
    assert running.goal == FOREVER


@pytest.mark.parametrize("button", ["pause", "step_once"])
def test_a_watchers_hand_makes_a_copy(
    train_tab: TrainHandlers,
    running: Run,
    runs: Runs,
    notices: list[str],
    wait_until: Callable[..., None],
    button: str,
) -> None:
    watched, seen, secret = press(train_tab, button, BEN, running.key, [running.key])
    copy = runs.find(key_of(watched))
    assert copy is not None
    assert copy is not running
    assert (copy.owner, secret) == (BEN, BEN)
    assert seen == [running.key, copy.key]
    assert len(notices) == 1
    assert "your own copy" in notices[0]
    assert running.status == "running"
    assert running.goal == FOREVER
    assert [event.train_loss for event in copy.members[0].events[:3]] == [
        event.train_loss for event in running.members[0].events[:3]
    ]
    train_tab.stop(ANNA, running.key)  # the copy gets its worker
    wait_until(lambda: copy.status == "paused", "the copy to be held")


@pytest.mark.parametrize("secret", ["", None, 7, [ANNA], "short"], ids=repr)
def test_without_the_secret_nobody_stops_a_run(train_tab: TrainHandlers, running: Run, secret: Any) -> None:
    train_tab.stop(secret, running.key)
    assert running.status == "running"


def test_a_run_in_the_line_cannot_be_copied_yet(
    train_tab: TrainHandlers, running: Run, start: Callable[..., Run], notices: list[str]
) -> None:
    waiting = start(BEN, steps=FOREVER - 1)
    assert waiting.status == "waiting"
    with refuses("has not begun to train yet"):
        press(train_tab, "pause", "c" * 32, waiting.key)
    press(train_tab, "pause", BEN, waiting.key)
    assert waiting.status == "paused"


@pytest.mark.parametrize("watched", ["", "0123456789ab 3", None, 7, [], "x" * 9999], ids=lambda value: f"{value!r:.9}")
@pytest.mark.parametrize("button", ["pause", "step_once", "stop", "restart", "branch", "export"])
def test_buttons_without_a_run_say_so(train_tab: TrainHandlers, button: str, watched: Any) -> None:
    with refuses("press Train to start one"):
        press(train_tab, button, ANNA, watched)


# --- Going on from a run --------------------------------------------------------------------------------------------


def test_a_run_that_is_done_goes_on_in_a_copy(
    train_tab: TrainHandlers, finished: Callable[..., Run], runs: Runs, wait_until: Callable[..., None]
) -> None:
    run = finished(ANNA, steps=10)
    watched, seen, _ = press(train_tab, "pause", ANNA, run.key, [run.key], steps=20)
    longer = runs.find(key_of(watched))
    assert longer is not run
    assert seen == [run.key, longer.key]
    wait_until(lambda: longer.is_over, "the end of the copy")
    assert (longer.status, longer.step) == ("done", 30)
    assert longer.members[0].events[:11] == run.members[0].events


def test_more_steps_have_to_be_a_number(train_tab: TrainHandlers, finished: Callable[..., Run]) -> None:
    run = finished()
    for steps in (None, float("nan"), 0, 2.5, "20", True, [20]):
        with refuses("Steps"):
            press(train_tab, "pause", ANNA, run.key, steps=steps)


def test_training_again_from_the_start_gives_the_same_losses(
    train_tab: TrainHandlers, finished: Callable[..., Run], runs: Runs, wait_until: Callable[..., None]
) -> None:
    run = finished(ANNA)
    again = runs.find(key_of(press(train_tab, "restart", ANNA, run.key)[0]))
    assert again is not run
    assert again.key == run.key
    wait_until(lambda: again.is_over, "the end of the second run")
    losses = [[event.train_loss for event in one.members[0].events] for one in (run, again)]
    assert losses[0] == losses[1]


def test_a_branch_goes_on_with_other_settings(
    train_tab: TrainHandlers, running: Run, runs: Runs, wait_until: Callable[..., None]
) -> None:
    press(train_tab, "pause", ANNA, running.key)
    wait_until(lambda: running.status == "paused", "the pause")
    more = running.step + 10
    watched, _, _ = press(train_tab, "branch", ANNA, running.key, steps=more, rate_multiple=0.1, batch_size=2)
    branch = runs.find(key_of(watched))
    assert branch is not running
    assert branch.request.training.batch_size == 2
    assert branch.request.training.learning_rate == pytest.approx(0.1 * running.request.training.learning_rate)
    wait_until(lambda: branch.is_over, "the end of the branch")
    assert (branch.status, branch.step) == ("done", more)


def test_a_branch_keeps_its_models(train_tab: TrainHandlers, finished: Callable[..., Run]) -> None:
    run = finished(ANNA)
    for changes, match in (
        ({"variants": ["rotary"]}, "A branch keeps its models"),
        ({"context_length": 64}, "A branch keeps its models"),
        ({"seeds": 2}, "A branch keeps its models"),
        ({"recipe": "nanogpt"}, "cannot change its recipe"),
        ({"steps": 1}, "ask for more steps"),
        ({"steps": None}, "Steps is None"),
        ({"variants": []}, "No variant is chosen"),
    ):
        with refuses(match):
            press(train_tab, "branch", ANNA, run.key, **({"steps": 20} | changes))


def test_another_seed_on_a_branch_counts_or_is_refused(train_tab: TrainHandlers, finished: Callable[..., Run]) -> None:
    """The page says that a branch may change the seed: then it must not quietly keep the old one."""
    run = finished(ANNA)
    try:
        watched, _, _ = press(train_tab, "branch", ANNA, run.key, steps=20, seed=5)
    except gr.Error:
        return
    assert train_tab.runs.find(key_of(watched)).request.training.seed == 5


# --- Watching only --------------------------------------------------------------------------------------------------


def hands_off(tab: TrainHandlers, run: Run) -> str:
    """What a page opened with `&hands=off` watches."""
    return tab.rejoin("", [], SimpleNamespace(query_params={"run": run.key, "hands": "off"}))[0]


@pytest.mark.parametrize("button", ["pause", "step_once", "stop", "restart", "branch"])
def test_hands_off_is_hands_off(train_tab: TrainHandlers, running: Run, button: str) -> None:
    with refuses("for watching only"):
        press(train_tab, button, ANNA, hands_off(train_tab, running))
    assert running.status == "running"


def test_hands_off_still_watches(train_tab: TrainHandlers, finished: Callable[..., Run]) -> None:
    (view,) = asyncio.run(collect(train_tab.watch(hands_off(train_tab, finished()))))
    assert view[1]["sentence"].startswith("Done")
    assert {button["interactive"] for button in view[2:]} == {False}


# --- Files, and what comes next -------------------------------------------------------------------------------------


def test_a_run_can_be_taken_home(train_tab: TrainHandlers, finished: Callable[..., Run]) -> None:
    paths = [Path(path) for path in press(train_tab, "export", ANNA, finished().key)]
    assert {"history.csv", "models.zip", "reproduce.py"} <= {path.name for path in paths}
    assert all(path.stat().st_size > 0 for path in paths)


@pytest.mark.parametrize(("kind", "words"), [(errno.ENOSPC, "No space left"), (errno.EROFS, "Read-only file system")])
def test_a_disk_that_takes_nothing_is_said_in_a_sentence(
    train_tab: TrainHandlers,
    finished: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
    kind: int,
    words: str,
) -> None:
    def write(*_: Any, **__: Any) -> None:
        raise OSError(kind, os.strerror(kind), "/somewhere/secret")

    run = finished()
    monkeypatch.setattr(Path, "write_bytes", write)
    monkeypatch.setattr(Path, "write_text", write)
    monkeypatch.setattr(Path, "open", write)
    with refuses(rf"^The server cannot write its files \({words}[^/]*\)\. What is on the page is not lost"):
        press(train_tab, "export", ANNA, run.key)
    monkeypatch.undo()
    assert press(train_tab, "export", ANNA, run.key)


def test_before_its_first_point_there_is_nothing_to_take_home(
    train_tab: TrainHandlers, running: Run, start: Callable[..., Run]
) -> None:
    waiting = start(BEN, steps=FOREVER - 1)
    assert not running.is_over
    with refuses("has not begun yet"):
        press(train_tab, "export", BEN, waiting.key)


def test_the_likeliest_next_characters(train_tab: TrainHandlers, finished: Callable[..., Run]) -> None:
    run = finished(variants=["gpt2", "rotary"])
    for key, labels in ((run.key, ["gpt2", "rotary"]), ("", ["gpt2", "sliding-window"])):
        models = train_tab.next_characters(key, "The fo")["models"]
        assert [model["label"] for model in models] == labels
        for model in models:
            shares = [share for _, share in model["bars"]]
            assert shares == sorted(shares, reverse=True)
            assert 0 < sum(shares) <= 1.001
            assert len({character for character, _ in model["bars"]}) == len(shares)


@pytest.mark.parametrize(
    ("prompt", "match"),
    [
        ("", "The prompt is empty"),
        ("#", "never seen '#'"),
        ("o" * 201, "at most 200"),
        ("\ud800", "half a character"),
        (None, "The prompt is missing"),
        (["x"], "The prompt is missing"),
    ],
    ids=repr,
)
def test_what_nothing_can_follow_is_said(train_tab: TrainHandlers, prompt: Any, match: str) -> None:
    assert_sentence(train_tab.next_characters("", prompt)["error"], match)


@pytest.mark.parametrize("key", [None, 7, [], {"run": 1}, "0123456789ab", "../.."], ids=repr)
def test_next_characters_of_no_run_are_the_shipped_models(train_tab: TrainHandlers, key: Any) -> None:
    assert len(train_tab.next_characters(key, "The")["models"]) == 2


def test_next_characters_of_a_run_in_the_line_are_awaited(
    train_tab: TrainHandlers, running: Run, start: Callable[..., Run]
) -> None:
    waiting = start(BEN, steps=FOREVER - 1)
    assert not running.is_over
    assert_sentence(train_tab.next_characters(waiting.key, "The")["error"], "has not begun to learn yet")


def test_a_text_is_shown_before_it_is_learned() -> None:
    shown = preview_text(OWN_TEXT, STORY)
    assert shown.value == STORY[:600]
    split = int(0.9 * len(STORY))
    assert f"{len(STORY):,} characters" in shown.info
    assert f"the first {split:,} are learned from, the last {len(STORY) - split:,} tested on" in shown.info


@pytest.mark.parametrize(
    ("choice", "own", "match"),
    [
        (OWN_TEXT, "", "holds no text"),
        (OWN_TEXT, None, "holds no text"),
        (OWN_TEXT, "a", "only the character 'a'"),
        (OWN_TEXT, "ab\ud800" * 20, "half a character"),
        (OWN_TEXT, 7, "is missing"),
        ("bible", "", "Text is 'bible'"),
        (None, "", "Text is None"),
        ([], "", "Text is"),
    ],
    ids=repr,
)
def test_a_text_that_cannot_be_learned_is_said(choice: Any, own: Any, match: str) -> None:
    shown = preview_text(choice, own)
    assert shown.value == ""
    assert_sentence(shown.info, match)


@pytest.mark.usefixtures("no_shakespeare")
def test_a_text_that_cannot_be_had_is_said() -> None:
    assert_sentence(preview_text("shakespeare", "").info, "could not be fetched")


def test_a_lab_without_shipped_models_still_trains(tmp_path: Path, runs: Runs, wait_until: Callable[..., None]) -> None:
    tab = TrainHandlers(runs, Catalogue(tmp_path, runs))
    assert chart_labels(tab.nothing_watched()) == []
    watched, _, _ = tab.train(ANNA, [], *controls())
    run = runs.find(key_of(watched))
    wait_until(lambda: run.is_over, "the end")
    assert run.status == "done"


@pytest.mark.parametrize(
    "text",
    [
        "שלום עולם, מה שלומך? " * 30,
        "🙂🙃 faces 👩‍🚀 and é combined " * 30,
        "a\u202eb\u200dc ${x} {{y}} <b>z</b>\t" * 30,
    ],
    ids=["right-to-left", "emoji", "controls and markup"],
)
def test_any_text_trains_and_comes_back_unchanged(finished: Callable[..., Run], text: str) -> None:
    run = finished(own_text=text)
    assert corpus_text(run.corpus) == text
    for member in run.members:
        samples = [event.sample for event in member.events if event.sample is not None]
        assert samples
        assert set("".join(samples)) <= set(text)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("héllo".encode("utf-16"), "not UTF-8 text"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not UTF-8 text"),
        (b"text\0text", "NUL bytes"),
        (b"x" * (LARGEST_OWN_TEXT + 1), "at most 2,000,000"),
        (None, "not a text file"),
        ("a name", "not a text file"),
    ],
    ids=["UTF-16", "a picture", "NUL", "too large", "nothing", "no bytes"],
)
def test_a_file_that_is_no_text_is_refused(content: Any, match: str) -> None:
    with refuses(match):
        read_upload(content)


def test_a_text_file_is_read() -> None:
    assert read_upload("\ufeffhéllo\r\nworld".encode()) == "héllo\nworld"


def test_opening_the_page_anew_finds_ones_own_run(train_tab: TrainHandlers, start: Callable[..., Run]) -> None:
    run = start(ANNA, steps=FOREVER)
    nowhere = SimpleNamespace(query_params={})
    assert key_of(train_tab.rejoin(ANNA, [], nowhere)[0]) == run.key
    assert train_tab.rejoin("b" * 32, [], nowhere)[:2] == (gr.skip(), gr.skip())


def test_each_press_of_step_is_a_step(
    train_tab: TrainHandlers, start: Callable[..., Run], wait_until: Callable[..., None]
) -> None:
    run = start(ANNA, steps=FOREVER)
    press(train_tab, "pause", ANNA, run.key)
    wait_until(lambda: run.status == "paused", "the pause")
    before = run.step
    for _ in range(5):
        press(train_tab, "step_once", ANNA, run.key)
    wait_until(lambda: run.status == "paused" and run.step >= before + 5, "five steps")
    assert run.step == before + 5
