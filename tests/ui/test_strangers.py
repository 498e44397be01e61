"""Attackers against a page that an honest visitor uses meanwhile; `tests/reliability/strangers.py` has them all."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import attackers
import httpx
import pytest
from attackers import Experience, be_honest, gives_away, network, open_page
from served import controls, serve

from gpt.runs.limits import MOST_BYTES_OF_FILES
from gpt.ui.app import create_demo
from gpt.ui.door.files import files_in

LONGEST_ANSWER = 10.0  # seconds: here the tests of others run beside; the script holds it to two


@pytest.fixture(scope="module")
def served(models_folder: Path) -> Iterator[tuple[Any, str]]:
    """A page of its own, on its defaults: (the demo, its address)."""
    demo = create_demo(models_folder)
    with serve(demo) as url:
        yield demo, url


def new_run(number: int) -> list[Any]:
    """Controls for a small run that nobody has asked for yet."""
    return controls(text="python-docs", own_text="", steps=10, seed=number)


def beside(
    address: str, attack: Callable[[httpx.AsyncClient, dict[str, Any]], Awaitable[Any]]
) -> tuple[Any, Experience]:
    """What an attack came to, and what an honest visitor saw meanwhile."""

    async def both() -> tuple[Any, Experience]:
        async with network(address) as browser, network(address) as other:
            page = await open_page(browser, "honest")
            honest = asyncio.create_task(be_honest(page, new_run, seconds=4.0))
            await asyncio.sleep(0.5)
            outcome = await attack(other, page.config)
            return outcome, await honest

    return asyncio.run(both())


def assert_served(seen: Experience) -> None:
    """The honest visitor was never refused, and had all kinds of answers in time."""
    assert seen.refused == []
    assert len(seen.seconds) == 5
    assert seen.longest < LONGEST_ANSWER


# --- What is a visitor's own -----------------------------------------------------------------------------------------


def test_a_text_of_ones_own_is_told_to_nobody_else(served: tuple[Any, str]) -> None:
    own = controls(own_text=attackers.PRIVATE_TEXT, steps=60, batch_size=16)

    async def owner_and_stranger() -> tuple[list[str], str, list[str], Any]:
        async with network(served[1]) as browser:
            owner, stranger = await open_page(browser, "owner"), await open_page(browser, "stranger")
            watched = await owner.train(own)
            own_answers = [(await owner.call("watch", watched)).text]  # to its end
            own_answers += [(await owner.call("generate", [f"run/{watched.split()[0]}/0"], "My", True, 99)).text]
            told, files = await attackers.ask_as_a_stranger(stranger, watched, own)
            exported = await owner.call("export", watched)
            for file in exported.data[0]:
                if file["orig_name"] == "text.txt":
                    own_answers += [(await browser.get(f"/gradio_api/file={file['path']}")).text]
            return own_answers, told, files, await stranger.call("watch", watched)

    own_answers, told, files, watching = asyncio.run(owner_and_stranger())
    assert [gives_away(text) for text in own_answers] == [True] * 3  # else this test could not fail
    assert not gives_away(told)
    assert files == []
    assert told.count("somebody's own text") >= 8  # refused in a sentence, one by one
    curves, panel = watching.data[:2]
    assert len(curves["series"][0]["losses"].split()) == 60
    assert "is shown only to those whose text or model it learns from." in panel["sentence"]
    assert [model["samples"] for model in panel["models"]] == [[]]


def test_the_status_page_gives_no_key_and_no_text(served: tuple[Any, str]) -> None:
    demo, address = served
    status = httpx.get(f"{address}status").text
    assert "runs remembered" in status
    assert not any(run.key in status for run in demo.runs.all_runs())
    assert not gives_away(status)


# --- Fair shares ------------------------------------------------------------------------------------------------------

LOOK = ("attention", "shipped/gpt2", "", "The lazy dog dreams, and runs.")
WRITE = ("generate", ["shipped/gpt2", "shipped/sliding-window"] * 2, "The", True, 1000, "", 0.8, 0, 1, 7)


@pytest.mark.parametrize("pages", [1, 60], ids=["one page", "sixty pages"])
def test_many_calls_do_not_keep_others_waiting(served: tuple[Any, str], pages: int) -> None:
    async def attack(browser: httpx.AsyncClient, config: dict[str, Any]) -> Any:
        looks = await attackers.many_calls(browser, config, 250, pages, *LOOK)
        return looks + await attackers.many_calls(browser, config, 60, pages, *WRITE)

    statuses, seen = beside(served[1], attack)
    assert set(statuses) <= {200, 429}
    assert statuses[429] > (250 if pages == 1 else 0)
    assert_served(seen)


def test_programs_without_a_page_do_not_either(served: tuple[Any, str]) -> None:
    async def attack(browser: httpx.AsyncClient, config: dict[str, Any]) -> Any:
        return await attackers.many_calls_without_a_page(browser, 300, "attention", list(LOOK[1:]))

    statuses, seen = beside(served[1], attack)
    assert set(statuses) == {200, 429}
    assert_served(seen)


@pytest.mark.parametrize("pages", [1, 60], ids=["one page", "sixty pages"])
def test_runs_that_nobody_watches_give_way(served: tuple[Any, str], pages: int) -> None:
    demo, address = served
    before = {run.key for run in demo.runs.all_runs()}

    def endless(number: int) -> list[Any]:
        return controls(text="python-docs", own_text="", steps=3000, seed=number + pages)

    async def attack(browser: httpx.AsyncClient, config: dict[str, Any]) -> Any:
        return await attackers.many_runs(browser, config, 60, pages, endless)

    statuses, seen = beside(address, attack)
    assert set(statuses) <= {200, 429}
    assert_served(seen)
    attacked = [run for run in demo.runs.all_runs() if run.key not in before and run.request.training.max_steps == 3000]
    under_way = [run for run in attacked if run.state in ("waiting", "running")]
    assert (
        len({run.owner for run in under_way}) == len(under_way) <= (1 if pages == 1 else 32 + 1)
    )  # in line, and in training


# --- Files ------------------------------------------------------------------------------------------------------------


def test_uploads_are_bounded_and_go(served: tuple[Any, str]) -> None:
    demo, address = served
    folder = demo.door.files.folder

    async def attack() -> Any:
        async with network(address) as browser:
            many, paths = await attackers.uploads(browser, 1, 1000, 10)
            foreign, more = await attackers.uploads(browser, 2, 1, 10, origin="http://evil.example")
            large, mine = await attackers.uploads(browser, 14, 1, 15_000_000)
            return many, foreign, large, paths + more, mine

    many, foreign, large, refused, mine = asyncio.run(attack())
    assert (many, foreign, refused) == ({"413": 1}, {"403": 2}, [])
    assert large == {"200": 14}
    deadline = time.monotonic() + 10  # it is tidied up after the answer
    while sum(of_file.st_size for _, of_file in files_in(folder)) > MOST_BYTES_OF_FILES:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not Path(mine[0]).exists()
    assert Path(mine[-1]).exists()


def test_nonsense_is_one_line_in_the_log_and_no_traceback(
    served: tuple[Any, str], capfd: pytest.CaptureFixture[str]
) -> None:
    address = served[1]
    for body in ({"fn_index": 10**6}, {"fn_index": -1}, {"session_hash": ""}, {"session_hash": "a b"}, {"data": {}}):
        sent = {"fn_index": 0, "data": [], "session_hash": "nonsense"} | body
        answer = httpx.post(f"{address}gradio_api/queue/join", json=sent)
        assert 400 <= answer.status_code < 500, answer.text
    for sent in ({}, {"component_id": 10**6, "data": 1, "session_hash": "x", "fn_name": "y"}, ["x"]):
        answer = httpx.post(f"{address}gradio_api/component_server", json=sent)
        assert 400 <= answer.status_code < 500
        assert json.loads(answer.text)["detail"]
    assert httpx.get(f"{address}gradio_api/queue/data?session_hash=").status_code == 400
    assert "Traceback" not in "".join(capfd.readouterr())
