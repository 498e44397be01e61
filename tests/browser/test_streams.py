"""A page that is told nothing any more notices it, and takes its run up again by itself."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any

import gradio as gr
import pytest
from playwright.sync_api import Browser, Page, expect
from served import serve

from gpt.runs.run import Run
from gpt.ui.app import create_demo
from gpt.ui.train.handlers import TrainHandlers

pytestmark = pytest.mark.browser

PATIENCE = 30_000  # milliseconds
UNDER_WAY = re.compile(r"^step [\d,]+ of 3,000 · [\d,]+ tokens/s")

# Each piece of Gradio's stream of answers arrives late, as it may on a busy machine; all other answers arrive at once.
LATE_STREAM = """
const plainFetch = window.fetch;
window.fetch = async (input, init) => {
  const answer = await plainFetch(input, init);
  if (!answer.url.includes('queue/data')) return answer;
  const later = () => new Promise((resolve) => setTimeout(resolve, 300));
  const late = new TransformStream({
    async transform(piece, stream) { await later(); if (!window.streamIsMute) stream.enqueue(piece); },
  });
  return new Response(answer.body.pipeThrough(late), { status: answer.status, headers: answer.headers });
};
"""


@pytest.fixture
def demo() -> Iterator[gr.Blocks]:
    """The app, on a server of its own."""
    demo = create_demo()
    with serve(demo):
        yield demo


@pytest.fixture
def opened(browser: Browser, demo: gr.Blocks) -> Iterator[Callable[..., Page]]:
    """Opens the page; with a script that runs before all others."""
    context = browser.new_context(locale="en-GB")
    context.set_default_timeout(PATIENCE)

    def open_page(script: str = "") -> Page:
        page = context.new_page()
        page.add_init_script(script)
        page.goto(demo.local_url)
        expect(sentence(page)).to_contain_text("Press Train to watch your own", timeout=PATIENCE)
        return page

    yield open_page
    context.close()


def sentence(page: Page) -> Any:
    """Where the run is, in words."""
    return page.locator(".run-panel .sentence")


def press(page: Page, name: str) -> None:
    """Press the button of that name."""
    page.get_by_role("button", name=name, exact=True).filter(visible=True).click()


def choose(page: Page, name: str, choice: str) -> None:
    """Choose from a list."""
    page.get_by_label(name, exact=True).filter(visible=True).click()
    page.get_by_role("option", name=choice).filter(visible=True).click()


def train(page: Page, demo: gr.Blocks, steps: int = 3000) -> Run:
    """Start a small run."""
    choose(page, "Size", "tiny: 2 layers, 64 wide")
    choose(page, "Text", "python-docs")
    box = page.get_by_label("number input for Steps").filter(visible=True)
    box.fill(str(steps))
    box.press("Tab")
    press(page, "Train")
    expect(page.locator(".loss-chart .legend")).to_contain_text("window of 8", timeout=PATIENCE)
    return demo.runs.all_runs()[-1]  # type: ignore[attr-defined]


def reload(page: Page) -> None:
    """Reload, and see the run again."""
    page.reload()
    expect(sentence(page)).to_have_text(UNDER_WAY, timeout=PATIENCE)


def expect_to_go_on(page: Page, run: Run) -> None:
    """What is shown moves on, by one watch, and Stop stops it; all on the page as it was, without a reload."""
    beyond = run.step
    while step_shown(page) <= beyond:  # the page's own patience ends this
        expect(sentence(page)).not_to_have_text(sentence(page).inner_text(), timeout=PATIENCE)
    assert run.lease.watchers == 1
    assert page.evaluate("window.isTheSamePage")
    press(page, "Stop")
    expect(sentence(page)).to_have_text(re.compile(r"^Stopped\. Step [\d,]+ of 3,000\.$"), timeout=PATIENCE)
    expect(page.get_by_role("button", name="Stop", exact=True).filter(visible=True)).to_be_disabled(timeout=PATIENCE)


def wait_until_unwatched(page: Page, run: Run) -> None:
    """Wait until the watch that shows the run has ended."""
    end = time.monotonic() + PATIENCE / 1000
    while run.lease.watchers:
        assert time.monotonic() < end, "the watch goes on"
        page.wait_for_timeout(50)


def step_shown(page: Page) -> int:
    """The step that the page says the run has reached."""
    found = re.search(r"step ([\d,]+)", sentence(page).inner_text(), re.IGNORECASE)
    return int(found[1].replace(",", "")) if found else -1


def cut_streams(demo: gr.Blocks) -> int:
    """Break off the connections of all streams of answers, without a word to either side; returns how many."""
    streams = [
        connection
        for connection in list(demo.server.server_state.connections)
        if connection.scope and connection.scope["path"].endswith("/queue/data")
    ]
    for connection in streams:
        connection.loop.call_soon_threadsafe(connection.transport.abort)
    return len(streams)


@pytest.fixture
def short_lived(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Lets so many watches of a run end after two views, without a word; to be called before the app is built."""
    watch = TrainHandlers.watch

    def let_die(watches: int) -> None:
        begun = iter(range(10**9))

        async def watch_briefly(self: Any, watched: Any, request: gr.Request) -> AsyncIterator[Any]:
            is_short = bool(watched) and next(begun) < watches
            async with aclosing(watch(self, watched, request)) as views:
                shown = 0
                async for view in views:
                    yield view
                    shown += 1
                    if is_short and shown == 2:
                        return

        monkeypatch.setattr(TrainHandlers, "watch", watch_briefly)

    return let_die


@pytest.mark.parametrize("reloaded", [False, True], ids=["at-once", "reloaded"])
def test_a_page_whose_stream_breaks_off_takes_its_run_up_again(
    opened: Callable[..., Page], demo: gr.Blocks, reloaded: bool
) -> None:
    page = opened()
    run = train(page, demo)
    expect(sentence(page)).to_have_text(UNDER_WAY, timeout=PATIENCE)
    if reloaded:
        reload(page)
    page.evaluate("window.isTheSamePage = true")
    assert cut_streams(demo) == 1
    expect_to_go_on(page, run)


def test_a_page_whose_watch_has_ended_takes_its_run_up_again(
    short_lived: Callable[[int], None], request: pytest.FixtureRequest
) -> None:
    short_lived(1)
    demo, opened = request.getfixturevalue("demo"), request.getfixturevalue("opened")
    page = opened()
    page.evaluate("window.isTheSamePage = true")
    run = train(page, demo)
    wait_until_unwatched(page, run)
    expect_to_go_on(page, run)


def test_a_page_whose_stream_falls_silent_takes_its_run_up_again(opened: Callable[..., Page], demo: gr.Blocks) -> None:
    page = opened(LATE_STREAM)
    run = train(page, demo)
    expect(sentence(page)).to_have_text(UNDER_WAY, timeout=PATIENCE)
    page.evaluate("window.isTheSamePage = true")
    page.evaluate(
        """() => {
          window.streamIsMute = true;
          const { renew } = window.gptLabStream;
          window.gptLabStream.renew = () => { window.streamIsMute = false; renew(); };
        }"""
    )
    expect_to_go_on(page, run)


def test_stop_acts_on_a_page_that_is_told_nothing(
    short_lived: Callable[[int], None], request: pytest.FixtureRequest
) -> None:
    short_lived(10**9)
    demo, opened = request.getfixturevalue("demo"), request.getfixturevalue("opened")
    page = opened()
    run = train(page, demo)
    wait_until_unwatched(page, run)
    press(page, "Stop")
    expect(sentence(page)).to_have_text(re.compile(r"^Stopped\. Step [\d,]+ of 3,000\.$"), timeout=PATIENCE)


def test_no_answer_is_lost_where_the_stream_is_late(opened: Callable[..., Page], demo: gr.Blocks) -> None:
    page = opened(LATE_STREAM)
    train(page, demo, steps=10)
    expect(sentence(page)).to_have_text(re.compile(r"^Done: 10 steps, "), timeout=PATIENCE)
    press(page, "A window of 8")
    second = re.compile(r"^(step [\d,]+ of 200 |Done: 200 steps, )")
    expect(sentence(page)).to_have_text(second, timeout=PATIENCE)
    page.reload()
    expect(sentence(page)).to_have_text(second, timeout=PATIENCE)
