"""Who works without a mouse or without seeing the page: axe-core finds nothing serious, and the keyboard reaches all.

On a desk in the light and on a phone in the dark, with nothing to show and with everything filled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page, expect
from served import save_small_models, serve
from visitor import DEVICES, PATIENCE, Visitor, Witness

from gpt.experiments import sampling
from gpt.ui.app import create_demo

pytestmark = pytest.mark.browser

ZOOMED = {"width": 640, "height": 400}  # a desk at 200 %
# What axe calls moderate or minor and counts here all the same; of the other rules, what is serious or critical does.
ALSO = {"heading-order", "empty-table-header", "landmark-unique"}

FIND = """async () => {
  const found = await axe.run(document, { resultTypes: ['violations'] });
  return found.violations.flatMap(({ id, impact, nodes }) => nodes.map((node) => ({
    id, impact, target: node.target.join(' '), html: node.html.slice(0, 200), why: node.failureSummary,
  })));
}"""

BEGIN_AT_THE_TOP = """() => {
  const top = Object.assign(document.createElement('div'), { tabIndex: -1 });
  document.body.prepend(top);
  top.focus();
  top.remove();
}"""
# What the Tab key leads to is kept in `window.reached`; it is a fault to show no outline or to have no name.
AT_STOP = """() => {
  const stop = document.activeElement;
  window.reached ??= new Set();
  if (stop === document.body || window.reached.has(stop)) return null;
  window.reached.add(stop);
  const { outlineStyle, outlineWidth } = getComputedStyle(stop);
  return outlineStyle === 'none' || parseFloat(outlineWidth) < 1 ? stop.outerHTML.slice(0, 200) : '';
}"""
NOT_REACHED = """() => {
  const found = [...document.querySelectorAll('button, input:not([type=radio]), select, textarea, summary, a[href]')];
  const looks = { visibilityProperty: true, opacityProperty: true };
  const isThere = (one) => one.checkVisibility(looks) && one.offsetWidth > 1;
  const left = found.filter((one) => !one.disabled && one.tabIndex >= 0 && isThere(one) && !window.reached.has(one));
  window.reached = new Set();
  return left.map((one) => one.outerHTML.slice(0, 200));
}"""
HEAR = """() => {
  window.spoken = [];
  const place = document.querySelector('.run-panel [role=status]');
  new MutationObserver(() => window.spoken.push(place.textContent)).observe(place, { childList: true });
}"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A lab with two small models."""
    with serve(create_demo(models_folder=save_small_models(tmp_path_factory.mktemp("models")))) as address:
        yield address


@pytest.fixture(params=DEVICES)
def visits(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Visitor]]:
    """Opens a lab in a page whose transitions are over at once."""
    contexts = []

    def visit(address: str) -> Visitor:
        context = browser.new_context(**DEVICES[request.param], reduced_motion="reduce", locale="en-GB")
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.add_init_script(AXE_SCRIPT)
        witness = Witness(page, address)
        page.goto(address)
        expect(page.locator(".run-panel .sentence")).to_contain_text("Press Train")
        return Visitor(page, witness, request.param, None)

    yield visit
    for context in contexts:
        context.close()


def what_shuts_out(visitor: Visitor, view: str) -> list[str]:
    """What axe-core finds on the page."""
    found = visitor.page.evaluate(FIND)
    return [
        f"{visitor.name}, {view}: {one['id']}: {one['target']}: {one['html']}: {one['why']}"
        for one in found
        if (one["impact"] in ("serious", "critical") or one["id"] in ALSO)
    ]


def what_keys_miss(page: Page, view: str) -> list[str]:
    """Nothing: Tab leads to everything that can be pressed, and shows where it is; a grid is one stop."""
    page.evaluate(BEGIN_AT_THE_TOP)
    faults, presses = [], 0
    page.keyboard.press("Tab")
    while (fault := page.evaluate(AT_STOP)) is not None:
        presses += 1
        assert presses < 150, f"{view}: more than {presses} stops"
        faults += [f"{view}: no outline: {fault}"] if fault else []
        page.keyboard.press("Tab")
    return faults + [f"{view}: not reached: {one}" for one in page.evaluate(NOT_REACHED)]


def test_nothing_shuts_anybody_out_of_an_empty_lab(visits: Callable[[str], Visitor], tmp_path: Path) -> None:
    found = []
    with serve(create_demo(models_folder=tmp_path)) as address:
        visitor = visits(address)
        for tab, drawn in (
            ("Train", ".run-panel .sentence"),
            ("Experiments", ".experiment-board .asks"),
            ("Compare", "#columns .empty"),
            ("Step by step", "#next-token .empty"),
            ("Read a text", "#surprise .empty"),
            ("Cost", "#cost-bars .row"),
            ("Attention", "#ablation .empty"),
        ):
            visitor.opens(tab)
            expect(visitor.page.locator(drawn).first).to_be_visible()
            found += what_shuts_out(visitor, f"empty {tab}")
    assert not found, "\n".join(found)


def test_nothing_shuts_anybody_out_of_a_lab_at_work(
    visits: Callable[[str], Visitor], lab: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(sampling.Setup(), texts=20)
    monkeypatch.setattr(sampling, "Setup", lambda: short)
    found = []
    visitor = visits(lab)
    for work, view in (
        (trains_and_stops, "Train"),
        (writes, "Compare"),
        (expects, "Step by step"),
        (reads, "Read a text"),
        (counts, "Cost"),
        (looks_at_attention, "Attention"),
        (experiments, "Experiments"),
    ):
        work(visitor)
        found += what_shuts_out(visitor, view)
        if visitor.name.startswith("desk"):
            found += what_keys_miss(visitor.page, view)
    assert not found, "\n".join(found)


def trains_and_stops(visitor: Visitor) -> None:
    page = visitor.page
    if page.locator("#settings-fold").is_visible():
        page.locator("#settings-fold").click()
    visitor.chooses("Size", "tiny: 2 layers, 64 wide")
    visitor.chooses("Text", "python-docs")
    visitor.sets("Steps", 3000)
    page.locator(".diagnostics").get_by_text("Diagnostics", exact=True).click()
    page.evaluate(HEAR)
    visitor.presses("Train")
    expect(visitor.sentence).to_contain_text("tokens/s", timeout=4 * PATIENCE)
    visitor.button("Stop").focus()
    page.keyboard.press("Enter")
    expect(visitor.sentence).to_contain_text("Stopped.")
    expect(visitor.button("Stop")).to_be_disabled()
    expect(visitor.button("Train")).to_be_focused()
    spoken = page.evaluate("window.spoken")
    assert spoken[-1].startswith("Stopped.")
    assert len(spoken) <= 4, f"spoken while nothing but numbers changed: {spoken}"
    chart = page.locator(".loss-chart")
    expect(chart.locator("p.unseen")).to_contain_text(re.compile(r"gpt2: validation loss, in nats, (falls|rises|\d)"))
    chart.get_by_text("Show as table", exact=True).click()
    expect(chart.locator(".as-table thead th[scope=col]")).to_have_text(["step", "gpt2", "sliding-window"])
    expect(chart.locator(".as-table tbody th[scope=row]").first).to_have_text("0")


def writes(visitor: Visitor) -> None:
    visitor.opens("Compare")
    removal = visitor.page.get_by_role("button", name="Remove gpt2, shipped", exact=True)
    expect(removal.filter(visible=True)).to_be_attached()
    visitor.box("Prompt").fill("The fox")
    progress = visitor.page.locator("#columns [role=status]")
    visitor.presses("Details ▼")
    visitor.sets("Length", 20)
    visitor.presses("Generate")
    expect(progress).to_contain_text("Done in")


def expects(visitor: Visitor) -> None:
    visitor.opens("Step by step")
    visitor.box("Text so far").fill("The fox")
    visitor.presses("Expect")
    expect(visitor.page.locator("#next-token .bar").first).to_be_visible()


def reads(visitor: Visitor) -> None:
    visitor.opens("Read a text")
    visitor.box("Text").fill("The quick brown fox")
    visitor.presses("Read")
    expect(visitor.page.locator("#surprise .token").first).to_be_visible()


def counts(visitor: Visitor) -> None:
    visitor.opens("Cost")
    bars = visitor.page.locator("#cost-bars .bars").first.locator(".bar")
    bars.first.press("ArrowDown")
    expect(bars.nth(1)).to_be_focused()
    expect(visitor.page.locator("#cost-bars .bars [tabindex='0']")).to_have_count(2)  # a stop for each block


def looks_at_attention(visitor: Visitor) -> None:
    page = visitor.page
    visitor.opens("Attention")
    visitor.box("Text").fill("The fox")
    visitor.presses("Look")
    switches = page.locator("#ablation .head")
    expect(switches.last).not_to_contain_text("–")
    expect(page.locator("#ablation .grid [tabindex='0']")).to_have_count(1)
    switches.first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#ablation .grid [tabindex='0']")).to_be_focused()
    expect(page.locator("#ablation .grid [tabindex='0']")).to_have_attribute("data-name", "head 1 1")
    expect(page.locator("#attention-map p.unseen")).to_contain_text("of them read themselves most")
    for name in ("#attention-map", "#receptive-field"):
        page.locator(name).get_by_text("Show as table", exact=True).click()
        expect(page.locator(f"{name} .as-table tbody th[scope=row]").first).to_be_visible()


def experiments(visitor: Visitor) -> None:
    visitor.page.goto(f"{visitor.page.url.partition('?')[0]}?tab=experiments&experiment=sampling")
    board = visitor.page.locator(".experiment-board")
    expect(board.locator(".asks")).to_contain_text("temperature")
    visitor.button("Just show me").press("Enter")
    expect(board.locator(".verdict")).to_be_visible(timeout=4 * PATIENCE)
    expect(visitor.page.locator(":focus")).to_have_count(1)  # though the button that was pressed is gone
    board.get_by_text("Show as table", exact=True).first.click()
