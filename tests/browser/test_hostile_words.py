"""Words that would run if anything took them for more: in the address, a text to learn from, a vocabulary."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, expect
from visitor import DEVICES, PATIENCE, Visitor, Witness, at_least

from gpt import GPT2, Corpus, save_checkpoint
from gpt.model.config import make_config

pytestmark = pytest.mark.browser

RUNS = "<img src=x onerror=window.hacked=1><svg/onload=window.hacked=1><script>window.hacked=1</script>"
TEMPLATES = "${window.hacked=1}{{window.hacked=1}}<%= 1 %>`"
ODD = "a\u202eb\u2066c\u0301\u0327\u200d\u2028d\ufeff\U0001f469\u200d\U0001f52c"  # turned, combined, joined, invisible
HOSTILE = RUNS + TEMPLATES + ODD
ADDRESS = {
    "tab": RUNS,
    "run": RUNS,
    "hands": RUNS,
    "view": "write",
    "models": f"upload/{RUNS},shipped/gpt2",
    "prompt": HOSTILE,
    "stepped": HOSTILE,
    "reading": HOSTILE,
    "temperature": RUNS,
    "seed": "NaN",
}


@pytest.fixture
def visitor(browser: Browser, address: str) -> Iterator[Visitor]:
    """Somebody who follows a link that was made to harm them."""
    context = browser.new_context(**DEVICES["desk-light"])
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    witness = Witness(page, address)
    page.goto(f"{address}?{urlencode(ADDRESS)}")
    yield Visitor(page, witness, "hostile", None)
    context.close()


def hostile_checkpoint(folder: Path) -> bytes:
    """A zipped checkpoint whose vocabulary is made of such characters."""
    corpus = Corpus.from_text("words", HOSTILE * 30)
    config = make_config("modern", corpus.tokenizer.vocab_size, embed_size=32, num_heads=2, num_layers=2)
    model = GPT2.from_config(config)
    model.initialize(5)
    save_checkpoint(folder / "model", model, corpus.tokenizer, corpus={"name": RUNS, "sha256": corpus.sha256})
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in (folder / "model").iterdir():
            archive.write(path, path.name)
    return packed.getvalue()


def test_nothing_that_is_said_runs(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.page
    expect(visitor.sentence).to_contain_text("the models that ship with the lab")
    visitor.looks_around("the address")

    visitor.opens("Train")
    visitor.chooses("Size", "tiny: 2 layers, 64 wide")
    visitor.chooses("Text", "your own text")
    visitor.box("Your own text").fill(HOSTILE * 40)
    visitor.sets("Steps", 20)
    visitor.presses("Train")
    expect(visitor.sentence).to_have_text(re.compile(r"^Done: 20 steps, "))
    expect(page.locator(".run-panel .samples pre").first).to_have_text(at_least(20))
    page.locator(".run-panel").get_by_label("Next character after").fill(RUNS)
    expect(page.locator(".run-panel .guesses li .percent").first).to_contain_text("%")
    visitor.looks_around("a text to learn from")

    visitor.opens("Compare")
    assert visitor.box("Prompt").input_value() == HOSTILE
    visitor.presses("More models ▼")
    packed = hostile_checkpoint(tmp_path)
    page.locator("input[type=file][accept*=zip]").set_input_files(
        {"name": f"{RUNS}.zip".replace("/", ""), "mimeType": "application/zip", "buffer": packed}
    )
    expect(page.get_by_text("modern, uploaded").first).to_be_visible()
    visitor.presses("Generate")
    columns = page.locator("#columns .column")
    uploaded = columns.filter(has_text="uploaded").first
    expect(uploaded.locator(".text")).to_have_text(at_least(20))
    assert uploaded.locator(".prompt").text_content() == HOSTILE
    visitor.looks_around("a vocabulary, writing")
    visitor.opens("Step by step")
    visitor.presses("Expect")
    expect(page.locator("#next-token").get_by_role("button", name=re.compile("^choose")).first).to_be_visible()
    visitor.opens("Read a text")
    visitor.presses("Read")
    expect(page.locator("#surprise")).to_contain_text("onerror")
    visitor.looks_around("a vocabulary, reading")

    visitor.opens("Attention")
    visitor.box("Text").fill(RUNS[:60])
    visitor.chooses("Model", "modern, uploaded")
    expect(page.locator("#attention-map .letter")).to_have_count(60)
    visitor.looks_around("attention")
    visitor.opens("Cost")
    visitor.looks_around("cost")
    for forbidden in ("#columns img", "#surprise img", "#attention-map img", ".run-panel img", "svg[onload]"):
        assert page.locator(forbidden).count() == 0, forbidden
