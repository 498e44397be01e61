"""The package as a whole: what is public, what an import pulls in, who imports whom, and the calls it was asked for."""

from __future__ import annotations

import doctest
import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import gpt

ROOT = Path(__file__).resolve().parent.parent

ASKED_FOR = [
    # the table of PRODUCT.md
    *("CharTokenizer", "TrainConfig", "GPTConfig", "train", "evaluate", "GPT2LayerNorm", "MultiHeadSelfAttention"),
    *("PositionWiseFeedForward", "GPT2Block", "GPT2OutputLayer", "GPT2", "SlidingWindowAttention"),
    *("GroupQueryAttention", "RotaryPositionalEncoding", "TransformerBlock"),
    # the end of DESIGN.md
    *("VARIANTS", "attention_mask", "attention_maps", "load_corpus", "TrainEvent", "save_checkpoint"),
    *("load_checkpoint", "Checkpoint", "stream_tokens"),
]


@pytest.mark.parametrize("name", sorted({*ASKED_FOR, *gpt.__all__}))
def test_every_public_name_is_importable(name):
    assert name in gpt.__all__
    namespace = {}
    exec(f"from gpt import {name}", namespace)
    assert namespace[name] is getattr(gpt, name)


def test_nothing_else_is_public():
    assert dir(gpt) == sorted(gpt.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gpt.nothing  # noqa: B018
    assert sorted(set(gpt.__all__)) == sorted(gpt.__all__)


def test_import_gpt_pulls_in_neither_gradio_nor_matplotlib():
    code = "import gpt, gpt.runs.scheduler, gpt.__main__, sys, json; print(json.dumps(sorted(sys.modules)))"
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(finished.stdout)}
    assert not loaded & {"gradio", "matplotlib", "pandas", "transformers"}


def test_the_first_screen_waits_for_no_torch():
    """The page is made with the curves of the models that ship, and its first event is answered."""
    code = """
import sys
from types import SimpleNamespace
from starlette.datastructures import QueryParams
from gpt.ui.app import create_demo
request = SimpleNamespace(query_params=QueryParams())
demo = create_demo()
named = {one.elem_id: one for one in demo.blocks.values() if getattr(one, "elem_id", None)}
chart, panel = named["loss-chart"], named["run-panel"]
print(*(curve["label"] for curve in chart.value["series"] if curve["losses"]))
print(*(model["label"] for model in panel.value["models"] if model["samples"]))
opened = next(event.fn for event in demo.fns.values() if event.name == "opened" and chart in event.outputs)
print(all(update == {"__type__": "update"} for update in opened(request, "", [], {})))
print({"torch", "matplotlib"} & {*sys.modules})
"""
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    shipped = " ".join(gpt.VARIANTS)
    assert finished.stdout.splitlines() == [shipped, shipped, "True", "set()"]


def test_making_a_model_does_not_load_the_compiler():
    """It would take longer than all the rest."""
    code = "import sys, gpt; gpt.GPT2(5, 8, 1, 8, 1); print({'torch._dynamo', 'sympy'} & {*sys.modules})"
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "set()"


def test_the_seed_call_of_product_md():
    """Exactly as written there."""
    vocab_size, embed_size, num_heads, hidden_size, num_layers = 50000, 768, 12, 3072, 2
    GPT2 = gpt.GPT2
    input_ids = torch.tensor([[0, 49999, 2, 3, 4, 5]])
    gpt2_model = GPT2(vocab_size, embed_size, num_heads, hidden_size, num_layers)
    assert gpt2_model(input_ids).shape == torch.Size([1, 6, 50000])
    generated = gpt2_model.generate(input_ids, max_length=50, num_return_sequences=1, temperature=0.7)
    assert generated.shape == torch.Size([1, 50])
    assert torch.equal(generated[:, :6], input_ids)


@pytest.mark.parametrize("name", ["data.tokenizer", "model.gpt2"])
def test_the_examples_in_docstrings(name):
    module = importlib.import_module(f"gpt.{name}")
    tested = doctest.testmod(module, extraglobs={"torch": torch})
    assert tested.attempted > 0
    assert tested.failed == 0


def test_the_reference_describes_every_public_name(tmp_path):
    """As the README's command makes it."""
    made = subprocess.run(
        [sys.executable, "-m", "pdoc", "-d", "google", "-o", str(tmp_path), "gpt"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    page = (tmp_path / "gpt.html").read_text(encoding="utf-8")
    for name in gpt.__all__:
        assert f'id="{name}"' in page, name
        described = getattr(gpt, name)
        if callable(described):
            assert inspect.getdoc(described), name
