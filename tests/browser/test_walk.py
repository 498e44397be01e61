"""One walk through the whole page in a real browser, on a desk in the light and on a phone in the dark.

What a visitor would do is done once, in their order; throughout, a witness notes every error of the page and every
request to anywhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from visitor import DEVICES, PATIENCE, Visitor, Witness, at_least

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=window.hacked=1>{{constructor}}"  # python-docs has all these characters
UNSEEN = HOSTILE + "${alert(1)}"  # and no dollar


@pytest.fixture(params=DEVICES)
def visitor(browser: Browser, address: str, album: Path | None, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    """A visitor who has just opened the page."""
    context = browser.new_context(**DEVICES[request.param], locale="en-GB")
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    witness = Witness(page, address)
    page.goto(address)
    yield Visitor(page, witness, request.param, album)
    context.close()


def test_a_walk_through_the_lab(visitor: Visitor) -> None:
    sees_how_shipped_models_learned(visitor)
    looks_words_up(visitor)
    trains_two_variants(visitor)
    reads_samples(visitor)
    unfolds_diagnostics(visitor)
    run = comes_back_to_a_run_under_way(visitor)
    compares(visitor, run)
    steps_by_bars(visitor)
    reads_a_text(visitor)
    compares_hostile_words(visitor)
    looks_at_attention(visitor)
    ablates_and_traces(visitor)
    follows_one_head(visitor)
    sets_two_models_against_each_other(visitor)
    looks_at_hostile_words(visitor)
    goes_back_through_training(visitor)
    takes_attention_home(visitor)
    sees_what_it_costs(visitor)


def sees_how_shipped_models_learned(visitor: Visitor) -> None:
    chart = visitor.page.locator(".loss-chart")
    expect(chart.locator("path.validation[d^=M]").first).to_be_attached()
    expect(chart.locator(".legend")).to_contain_text("gpt2")
    expect(chart.locator(".legend")).to_contain_text("sliding-window")
    expect(visitor.sentence).to_contain_text("the models that ship with the lab")
    expect(visitor.button("Stop")).to_be_disabled()
    zooms_into(visitor)
    expected = "dark" if visitor.name.endswith("dark") else "light"
    assert visitor.page.evaluate("document.body.classList.contains('dark')") == (expected == "dark")
    visitor.looks_around("1-opened")


def looks_words_up(visitor: Visitor) -> None:
    page = visitor.page
    unfolds_settings(visitor)
    mask = page.locator(".checkbox-container").get_by_role("term").filter(has_text="causal mask")
    without_mask = page.get_by_label("also without the causal mask")
    note = page.locator("#words .note")
    mask.click()
    expect(note).to_contain_text("causal mask: The rule that a token may see itself")
    expect(without_mask).not_to_be_checked()  # to ask for a word is not to press what it names
    page.keyboard.press("Escape")
    expect(note).to_be_hidden()
    page.get_by_label("number input for Steps").filter(visible=True).press("Shift+Tab")
    steps = page.locator(".glossary-mark:focus")
    expect(note).to_contain_text("step: One update of the weights")
    expect(steps).to_have_accessible_description("One update of the weights, from one batch.")
    visitor.presses("Words")
    expect(page.get_by_role("dialog", name="Words")).to_contain_text("nat")
    page.keyboard.press("Escape")
    expect(visitor.button("Words")).to_be_focused()


def zooms_into(visitor: Visitor) -> None:
    """The curves come apart by a press or by keys, and a teacher shows them to a class; Esc leads back from both."""
    chart = visitor.page.locator(".loss-chart")
    first_tick = chart.locator(".x-tick").first
    expect(first_tick).to_have_text("0")
    chart.get_by_role("button", name="last half").click()
    expect(first_tick).not_to_have_text("0")
    expect(chart.locator(".end text:not(.heading)").first).to_contain_text(re.compile(r"\d\.\d{3}$"))
    plot = chart.locator(".plot")
    plot.press("-")
    expect(first_tick).to_have_text("0")
    if visitor.name.startswith("phone"):
        return  # which has no projector
    visitor.presses("Projector")
    expect(visitor.page.locator(".projector .news")).to_contain_text("in training")
    expect(visitor.button("Train")).to_have_count(0)
    assert "projector=1" in visitor.page.url
    visitor.page.keyboard.press("Escape")
    expect(visitor.button("Train")).to_be_visible()
    assert "projector" not in visitor.page.url


def unfolds_settings(visitor: Visitor) -> None:
    """On a phone they are folded away, and fold again when a run is started."""
    fold = visitor.page.locator("#settings-fold")
    if fold.is_visible() and fold.get_attribute("aria-expanded") == "false":
        fold.click()


def trains_two_variants(visitor: Visitor) -> None:
    unfolds_settings(visitor)
    visitor.chooses("Size", "tiny: 2 layers, 64 wide")
    visitor.chooses("Text", "python-docs")
    visitor.sets("Steps", 30)
    visitor.presses("Train")
    legend = visitor.page.locator(".loss-chart .legend")
    expect(legend).to_contain_text("window of 8")
    expect(legend).not_to_contain_text("window of 32")  # the shipped one
    expect(visitor.page.locator(".loss-chart path.raw[d^=M]")).to_have_count(2)
    visitor.sees_it_come_to(r"^Done: 30 steps, ", visitor.sentence)
    assert visitor.run_in_address()
    expect(visitor.page.locator(".run-panel .guesses h4")).to_have_text(["gpt2", "sliding-window"])
    visitor.looks_around("2-trained")


def reads_samples(visitor: Visitor) -> None:
    panel = visitor.page.locator(".run-panel")
    texts = panel.locator(".samples pre")
    expect(texts).to_have_count(2)
    assert panel.locator(".samples .glossary-mark").count() == 0  # not in what models write
    expect(panel.locator(".costs .glossary-mark").filter(has_text="parameters")).to_be_visible()
    expect(texts.first).not_to_be_empty()
    expect(panel.locator(".at-step")).to_have_text("step 30")
    newest = texts.first.inner_text()
    panel.get_by_label("earlier sample").click()
    expect(panel.locator(".at-step")).to_have_text("step 20")
    expect(texts.first).not_to_have_text(newest)
    scrubber = panel.get_by_label("which evaluation to read")
    scrubber.focus()
    scrubber.press("Home")
    expect(panel.locator(".at-step")).to_have_text("step 0")
    scrubber.press("End")
    expect(panel.locator(".at-step")).to_have_text("step 30")
    assert texts.first.inner_text() == newest
    panel.get_by_label("Next character after").fill(HOSTILE)
    expect(panel.locator(".guesses li .percent").first).to_contain_text("%")


def unfolds_diagnostics(visitor: Visitor) -> None:
    fold = visitor.page.locator(".diagnostics")
    assert fold.locator(".plot path").count() == 0  # nothing is asked for, or drawn, while it is folded
    fold.get_by_text("Diagnostics", exact=True).click()
    expect(fold.locator(".plot path.curve[d^=M]")).to_have_count(2 * 2)
    expect(fold.locator(".plot path.head[d^=M]")).to_have_count(2 * 2)
    heads = fold.locator(".wide")
    heads.get_by_label("Model").select_option("sliding-window")
    heads.get_by_label("Score").select_option("prefix match")
    expect(heads.locator(".explanation")).to_contain_text("random tokens, said again after 8")
    plot = heads.locator(".plot")
    plot.focus()
    plot.press("ArrowLeft")
    plot.press("ArrowDown")
    expect(heads.locator(".tooltip")).to_contain_text("layer 1, head 2")
    plot.press("Escape")
    expect(heads.locator(".tooltip")).to_be_hidden()
    fold.get_by_text("Show as table", exact=True).first.click()
    expect(fold.locator("tbody tr").first).to_be_visible()
    visitor.looks_around("2-diagnostics")
    fold.get_by_text("Diagnostics", exact=True).click()


def comes_back_to_a_run_under_way(visitor: Visitor) -> str:
    """Returns the key of the run."""
    first = visitor.run_in_address()
    unfolds_settings(visitor)
    visitor.sets("Steps", 3000)
    visitor.presses("Train")
    under_way = re.compile(r"^step [\d,]+ of 3,000 · [\d,]+ tokens/s")
    expect(visitor.sentence).to_have_text(under_way)
    run = visitor.run_in_address()
    assert run != first
    visitor.witness.page_is_left = True
    visitor.page.reload()
    visitor.witness.page_is_left = False
    expect(visitor.sentence).to_have_text(under_way)
    assert visitor.run_in_address() == run
    expect(visitor.page.locator(".loss-chart .legend")).to_contain_text("sliding-window")
    expect(visitor.page.locator(".loss-chart path.raw[d^=M]")).to_have_count(2)
    visitor.looks_around("3-under-way")
    visitor.presses("Stop")
    expect(visitor.sentence).to_have_text(re.compile(r"^Stopped\. Step [\d,]+ of 3,000\.$"))
    expect(visitor.button("Stop")).to_be_disabled()
    return run


def compares(visitor: Visitor, run: str) -> None:
    visitor.opens("Compare")
    expect(visitor.page.locator("#columns")).to_contain_text("Press Generate")
    visitor.looks_around("4-compare")
    visitor.waits_for_quiet()  # the models of the run have joined those that are compared
    visitor.presses("Details ▼")
    visitor.sets("Length", 1000)
    visitor.presses("Generate")
    columns = visitor.page.locator("#columns .column")
    expect(columns).to_have_count(4)  # two that ship, two of the run
    notes = "".join(columns.locator(".note").all_inner_texts())
    assert notes.count("shipped") == 2
    assert notes.count("trained here") == 2
    assert "".join(columns.locator("h3").all_inner_texts()).count(" 3,000 steps, tiny, ") == 2
    for more_than in (0, 20, 40):
        for column in range(4):
            expect(columns.nth(column).locator(".text")).to_have_text(at_least(more_than + 1))
    with visitor.page.expect_response(lambda response: "cancel" in response.url):
        visitor.presses("Stop")
    written = columns.locator(".text").all_inner_texts()
    visitor.looks_around("5-compared")
    visitor.opens("Train")
    visitor.opens("Compare")
    assert columns.locator(".text").all_inner_texts() == written


def steps_by_bars(visitor: Visitor) -> None:
    visitor.opens("Step by step")
    visitor.presses("Expect")
    component = visitor.page.locator("#next-token")
    bars = component.get_by_role("button", name=re.compile("^choose"))
    expect(bars.first).to_be_visible()
    before = visitor.box("Text so far").input_value()
    painted = component.locator("[data-painted]")
    count = painted.get_attribute("data-painted")
    bars.first.click()
    expect(painted).not_to_have_attribute("data-painted", str(count))
    expect(visitor.box("Text so far")).not_to_have_value(before)
    visitor.presses("Take back")
    expect(visitor.box("Text so far")).to_have_value(before)
    visitor.looks_around("5-step")


def reads_a_text(visitor: Visitor) -> None:
    visitor.opens("Read a text")
    visitor.box("Text").fill("import this or that")
    visitor.presses("Read")
    expect(visitor.page.locator("#surprise table")).to_contain_text("perplexity")
    visitor.looks_around("5-read")
    visitor.box("Text").fill(HOSTILE)
    visitor.presses("Read")
    expect(visitor.page.locator("#surprise")).to_contain_text("onerror")
    assert visitor.page.locator("#surprise img").count() == 0
    visitor.looks_around("5-read-hostile")
    visitor.opens("Write")


def compares_hostile_words(visitor: Visitor) -> None:
    visitor.page.get_by_label("leave out unseen characters").filter(visible=True).uncheck()
    visitor.sets("Length", 20)
    columns = visitor.page.locator("#columns .column")
    for words, unseen_by in ((UNSEEN, 4), (HOSTILE, 2)):  # Shakespeare has no "<" either
        visitor.box("Prompt").fill(words)
        visitor.presses("Generate")
        for column in range(4):
            expect(columns.nth(column).locator(".prompt")).to_have_text(words)
            if column < unseen_by:
                expect(columns.nth(column).locator(".note")).to_contain_text("This model has never seen")
            else:
                expect(columns.nth(column).locator(".text")).to_have_text(at_least(20))
        assert columns.locator("img").count() == 0
    visitor.looks_around("6-hostile-prompt")


def looks_at_attention(visitor: Visitor) -> None:
    visitor.opens("Attention")
    page = visitor.page
    painted = page.locator("#attention-map[data-painted], #attention-map [data-painted]")
    expect(painted).to_be_attached()
    expect(page.locator("#attention-map .variant-name")).to_have_text("sliding-window")
    thumbnails = page.locator("#attention-map .thumbnail")
    expect(thumbnails.first).to_have_attribute("aria-pressed", "true")
    visitor.looks_around("7-attention")

    visitor.waits_for_quiet()
    visitor.witness.requests.clear()
    thumbnails.last.click()
    expect(thumbnails.last).to_have_attribute("aria-pressed", "true")
    expect(thumbnails.first).to_have_attribute("aria-pressed", "false")
    frame = page.locator("#attention-map .frame")
    tooltip = page.locator("#attention-map .tooltip")
    frame.hover()
    expect(tooltip).to_contain_text("query")
    frame.focus()
    frame.press("ArrowDown")
    expect(page.locator("#attention-map .hint")).to_contain_text("is held")
    here = tooltip.inner_text()
    frame.press("ArrowLeft")
    expect(tooltip).not_to_have_text(here)
    mask_only = page.get_by_role("button", name="mask only")
    mask_only.click()
    expect(mask_only).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#attention-map .legend")).to_contain_text("may be read")
    visitor.looks_around("8-mask-only")
    mask_only.click()
    page.keyboard.press("Escape")
    expect(page.locator("#attention-map .hint")).not_to_contain_text("is held")
    assert not visitor.witness.requests, "looking around asks the server for nothing"


def ablates_and_traces(visitor: Visitor) -> None:
    page = visitor.page
    table = page.locator("#head-table table")
    expect(table.locator("tbody tr")).to_have_count(36)
    table.get_by_role("columnheader", name=re.compile("previous token")).get_by_role("button").click()
    expect(table.locator("th[aria-sort=descending]")).to_contain_text("previous token")
    switches = page.locator("#ablation button[aria-pressed]")
    expect(switches).to_have_count(36)
    expect(switches.last).not_to_contain_text("–")  # measured
    switches.nth(1).click()
    expect(page.locator("#ablation")).to_contain_text(re.compile(r"with 1 head ablated [\d.]+, a change of [+−][\d.]+"))
    expect(page.locator("#outcomes")).to_contain_text("1 head ablated")
    page.get_by_role("button", name="restore all heads").click()
    expect(page.locator("#outcomes")).not_to_contain_text("ablated")
    expect(page.locator("#receptive-field")).to_contain_text("largest influence outside the cone 0.")
    visitor.looks_around("9-measured")


def follows_one_head(visitor: Visitor) -> None:
    page = visitor.page
    fold = page.get_by_role("button", name="One head in numbers")
    fold.click()
    numbers = page.locator("#head-numbers")
    expect(numbers).to_contain_text("Layer 6, head 6, as token")
    page.locator("#attention-map .letter").nth(40).click()
    page.locator("#attention-map .thumbnail").nth(1).click()
    expect(numbers).to_contain_text("Layer 1, head 2, as token 40")
    rows = numbers.locator(".keys tbody tr")
    assert rows.nth(40).inner_text().startswith("40")
    expect(rows.nth(8)).to_contain_text("−∞, outside the window")
    expect(rows.nth(41)).to_contain_text("−∞, the future")
    expect(numbers).to_contain_text("their weights add up to 1.00")
    rows.nth(39).get_by_role("button").press("ArrowDown")
    expect(rows.nth(40)).to_have_attribute("aria-current", "true")
    expect(numbers).to_contain_text("the products with key 40")
    with page.expect_download() as saved:
        visitor.presses("Save as CSV")
    assert "output,40," in saved.value.path().read_text(encoding="utf-8")
    visitor.looks_around("9-one-head")
    fold.click()
    page.keyboard.press("Escape")


def sets_two_models_against_each_other(visitor: Visitor) -> None:
    page = visitor.page
    visitor.chooses("Beside it", "gpt2, shipped")
    expect(page.locator("#attention-map .frame")).to_have_count(3)
    expect(page.locator("#attention-map .variant-name").first).to_contain_text("sliding-window")
    expect(page.locator("#attention-map .thumbnail")).to_have_count(72)
    expect(page.locator("#outcomes")).to_contain_text("gpt2")
    visitor.looks_around("10-two-models")
    visitor.chooses("Beside it", "none")
    expect(page.locator("#attention-map .frame")).to_have_count(1)


def goes_back_through_training(visitor: Visitor) -> None:
    page = visitor.page
    slider = page.locator("#step-slider")
    range_ = slider.get_by_role("slider")
    expect(range_).to_be_visible()
    range_.focus()
    for key, step in (("End", "[1-9]\\d*"), ("Home", "0")):
        range_.press(key)
        expect(slider).to_contain_text(re.compile(f"step {step}"))
        expect(page.locator("#outcomes")).to_contain_text(re.compile(f"at step {step} on"))
    expect(page.locator("#attention-map .variant-name").first).to_contain_text("gpt2, 3,000 steps")
    visitor.looks_around("13-as-it-learned")


def takes_attention_home(visitor: Visitor) -> None:
    page = visitor.page
    page.get_by_role("button", name="Take home").filter(visible=True).click()
    visitor.presses("Prepare pictures and weights")
    for name in ("layer-1.png", "all-heads.svg", "attention.npz"):
        stem, _, ending = name.partition(".")
        expect(page.get_by_text(re.compile(f"{stem}.*{ending}")).filter(visible=True).first).to_be_visible()
    visitor.looks_around("14-taken-home")


def looks_at_hostile_words(visitor: Visitor) -> None:
    page = visitor.page
    text = visitor.box("Text")
    text.fill("To be, or not to be. " * 30)
    visitor.presses("Look")
    said = page.get_by_text(re.compile(r"The text has 630 characters; sliding-window looks at \d+ at most\."))
    expect(said).to_be_visible()
    visitor.looks_around("11-too-long")

    text.fill(HOSTILE)
    visitor.chooses("Model", "gpt2, 3,000 steps, tiny, python-docs")
    letters = page.locator("#attention-map .letter")
    expect(letters).to_have_count(len(HOSTILE))
    assert "".join(letters.all_inner_texts()) == HOSTILE.replace(" ", "␣")
    assert page.locator("#attention-map img").count() == 0
    expect(page.locator("#attention-map .variant-name")).to_contain_text("gpt2, 3,000 steps")
    visitor.looks_around("12-hostile-text")


def sees_what_it_costs(visitor: Visitor) -> None:
    page = visitor.page
    visitor.opens("Cost")
    times, cache, bars = (page.locator(f"#{name}") for name in ("time-chart", "cache-chart", "cost-bars"))
    expect(times.locator("path.computed")).to_have_count(2 + 2)  # in the plot and in the legend
    expect(times.locator(".plot .dot")).to_have_count(0)
    visitor.looks_around("15-cost")

    visitor.chooses("Longest text", "512")
    visitor.presses("Measure")
    visitor.sees_it_come_to(r"^Done: 100 measurements in [\d.]+ s", times.locator(".status"))
    expect(times.locator(".plot .dot")).to_have_count(8)
    expect(times.locator(".sentences")).to_contain_text(
        re.compile(r"Measured: time grows as T[\d.]+ ± [\d.]+ with full")
    )
    visitor.sets("Window", 32)
    expect(times.locator(".status")).to_contain_text("Shown: window of 8, ")
    plot = times.locator(".plot")
    plot.focus()
    plot.press("ArrowLeft")
    expect(times.locator(".tooltip")).to_contain_text("tokens in the text, T: 512")
    plot.press("Escape")
    expect(times.locator(".tooltip")).to_be_hidden()

    visitor.chooses("Longest text", "4,096")
    visitor.presses("Measure")
    expect(times.locator(".status")).to_contain_text("full attention ·")
    visitor.presses("Stop")
    expect(times.locator(".status")).to_contain_text("Stopped after")

    visitor.presses("Generate")
    visitor.sees_it_come_to("Done|Ended after 30 s", cache.locator(".status"))  # the most it takes, on a busy machine
    expect(cache.locator(".numbers")).to_contain_text("yes")
    expect(cache.locator(".unequal")).to_have_count(0)

    expect(bars.locator(".row")).to_have_count(2 * 5)
    expect(bars.locator(".unequal")).to_have_count(0)
    visitor.chooses("Of", "the models chosen above")
    expect(bars.locator(".row")).to_have_count(2 * 4)
    bar = bars.locator(".bar").first
    bar.focus()
    bar.press("ArrowRight")
    expect(bars.locator(".line")).to_contain_text("token embedding")
    visitor.looks_around("16-costs")
