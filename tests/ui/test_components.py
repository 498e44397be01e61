"""What components are given to draw, and that nothing in them can turn a visitor's words into markup."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch
from served import assert_same_weights, unpack_attention

from gpt import GPT2, GPTConfig, attention_mask
from gpt.costs.formulas import flops_by_part, parameters_by_part
from gpt.interpret import head_in_numbers
from gpt.ui import components
from gpt.ui.components import drawn_component, module_text
from gpt.ui.components.ablation import ablation
from gpt.ui.components.attention_map import attention_map, pack_attention
from gpt.ui.components.cost_bars import cost_bars, cost_bars_value
from gpt.ui.components.cost_chart import cost_chart, cost_chart_value
from gpt.ui.components.diagnostics import diagnostics
from gpt.ui.components.experiment_board import experiment_board, experiment_board_value
from gpt.ui.components.glossary import glossary
from gpt.ui.components.head_numbers import head_numbers, head_numbers_value
from gpt.ui.components.head_table import head_table
from gpt.ui.components.link_bar import link_bar
from gpt.ui.components.loss_chart import loss_chart, loss_chart_value
from gpt.ui.components.next_token import next_token
from gpt.ui.components.outcomes import outcomes
from gpt.ui.components.projector import projector
from gpt.ui.components.receptive_field import receptive_field
from gpt.ui.components.run_panel import run_panel
from gpt.ui.components.section_links import section_links
from gpt.ui.components.step_slider import step_slider
from gpt.ui.components.surprise_text import surprise_text
from gpt.ui.components.text_columns import text_columns, text_columns_value
from gpt.ui.components.text_files import text_files
from gpt.ui.components.token_text import token_text

FOLDER = Path(components.__file__).parent
FACTORIES = {
    "ablation": ablation,
    "attention_map": attention_map,
    "cost_bars": cost_bars,
    "cost_chart": cost_chart,
    "diagnostics": diagnostics,
    "experiment_board": experiment_board,
    "glossary": glossary,
    "head_numbers": head_numbers,
    "head_table": head_table,
    "link_bar": link_bar,
    "loss_chart": loss_chart,
    "next_token": next_token,
    "outcomes": outcomes,
    "projector": projector,
    "receptive_field": receptive_field,
    "run_panel": run_panel,
    "section_links": section_links,
    "step_slider": step_slider,
    "surprise_text": surprise_text,
    "text_columns": text_columns,
    "text_files": text_files,
    "token_text": token_text,
}
CONFIG = GPTConfig(vocab_size=65)
HOSTILE = ["<img src=x onerror=window.hacked=1>", "${alert(1)}", "{{constructor}}"]


# --- Templates ------------------------------------------------------------------------------------------------------


def test_every_component_is_tested_here() -> None:
    assert {path.stem for path in FOLDER.glob("*.css")} == FACTORIES.keys()


@pytest.mark.parametrize("name", FACTORIES)
def test_templates_hold_no_place_for_a_value(name: str) -> None:
    made = FACTORIES[name]()
    assert made.html_template == f'<div class="drawn {name.replace("_", "-")}"></div>'
    assert not made.css_template


@pytest.mark.parametrize("name", FACTORIES)
def test_a_value_does_not_change_the_templates(name: str) -> None:
    empty, hostile = FACTORIES[name](), FACTORIES[name]({"empty": HOSTILE[0], "label": HOSTILE[1]})
    assert hostile.html_template == empty.html_template
    assert hostile.js_on_load == empty.js_on_load


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.js")), ids=lambda path: path.name)
def test_scripts_write_text_and_reach_nothing(path: Path) -> None:
    source = path.read_text(encoding="utf-8").replace('"http://www.w3.org/2000/svg"', "")  # SVG's name, no address
    for forbidden in (
        r"innerHTML|outerHTML|insertAdjacentHTML|createContextualFragment|document\.write|DOMParser|setHTML",
        r"\beval\b|\bFunction\(|import\(|setTimeout\(['\"`]",
        r"\bfetch\b|XMLHttpRequest|WebSocket|EventSource|sendBeacon|https?:|['\"`]//",
        r"\.src\b|setAttribute\(['\"]on",
    ):
        assert not re.search(forbidden, source), f"{path.name}: {re.search(forbidden, source)}"


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.js")), ids=lambda path: path.name)
def test_scripts_are_short_enough_to_read(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 600


def module_of(name: str) -> str:
    """The text of the module that a component's script fetches."""
    (module,) = re.findall(r'"drawn/([\w-]+\.js)"', FACTORIES[name]().js_on_load)
    text = module_text(module)
    assert text is not None
    assert hashlib.sha256(text.encode()).hexdigest().startswith(module[:-3].rpartition("-")[2])  # so it may be kept
    return text


def scripts_of(name: str) -> list[Path]:
    """The files whose text a component's script is."""
    script = module_of(name)
    return [path for path in FOLDER.rglob("*.js") if path.read_text(encoding="utf-8") in script]


def declared_in(script: str) -> list[str]:
    """What a script declares at its outermost level."""
    lists = re.findall(r"^(?:const|let) [\[{](.*?)[\]}] =", script, re.MULTILINE)
    single = re.findall(r"^(?:async )?(?:function|const|let) (\w+)", script, re.MULTILINE)
    return single + [found for names in lists for found in re.findall(r"\w+", names)]


@pytest.mark.parametrize("name", FACTORIES)
def test_a_module_holds_the_component_s_style_and_its_events(name: str) -> None:
    module, script = module_of(name), FACTORIES[name]().js_on_load
    assert json.dumps((FOLDER / f"{name}.css").read_text(encoding="utf-8"))[1:-1] in module
    events = set(re.findall(r'\btrigger\("(\w+)"', module))
    assert all(f'"{event}"' in script for event in events)  # else Gradio has no such event


def test_no_other_module_is_served() -> None:
    assert module_text("../loss_chart.js") is None


@pytest.mark.parametrize("name", FACTORIES)
def test_a_component_is_sent_each_rule_once_and_all_it_uses(name: str) -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.js")}
    sent = scripts_of(name)
    script = "\n".join(texts[path] for path in sent)
    names = declared_in(script)
    assert len(names) == len(set(names)), {one for one in names if names.count(one) > 1}
    for path in FOLDER.glob("shared/*.js"):
        others = re.sub(r"(^|\s)//.*", "", "\n".join(texts[one] for one in sent if one != path))
        used = [one for one in declared_in(texts[path]) if re.search(rf"(?<![\w.]){one}\b", others)]
        if path in sent:
            assert used, f"nothing of {path.name} is used"
        else:
            assert set(used) <= set(names), f"{used} of {path.name} are used"


def test_a_subject_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"neither masks\.js nor masks\.css"):
        drawn_component("outcomes", shared=["masks"])


@pytest.mark.parametrize("path", sorted(FOLDER.parent.rglob("*.css")), ids=lambda path: path.name)
def test_styles_reach_nothing(path: Path) -> None:
    assert not re.search(r"url\(|@import|https?:", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FACTORIES)
def test_options_reach_gradio(name: str) -> None:
    assert FACTORIES[name](elem_id="here").elem_id == "here"
    assert isinstance(FACTORIES[name](), gr.HTML)


# --- The attention map ----------------------------------------------------------------------------------------------

LENGTH, LAYERS, HEADS = 20, 2, 4


def mask(length: int, window: int | None, causal: bool) -> torch.Tensor:
    """(length, length): True where a query may read a key."""
    positions = torch.arange(length)
    return attention_mask(positions, positions, window, causal)


def random_weights(allowed: torch.Tensor) -> torch.Tensor:
    """(LAYERS, HEADS, T, T): some softmax under that mask."""
    scores = 3 * torch.randn(LAYERS, HEADS, *allowed.shape)
    return scores.masked_fill(~allowed, -torch.inf).softmax(dim=-1)


def pack(
    length: int = LENGTH, window: int | None = 5, causal: bool = True, kv_heads: int = 2, **changes: Any
) -> tuple[torch.Tensor, dict[str, Any]]:
    """(weights, what `pack_attention` makes of them)."""
    allowed = changes.pop("allowed", None)
    allowed = mask(length, window, causal) if allowed is None else allowed
    weights = changes.pop("weights", None)
    weights = random_weights(allowed) if weights is None else weights
    tokens = changes.pop("tokens", list("abcdefghijklmnopqrstuvwxyz"[:length]))
    options = {"window_size": window, "causal": causal, "num_kv_heads": kv_heads, "label": "x", "colour": "red"}
    return weights, pack_attention(weights, allowed, tokens, **(options | changes))


@pytest.mark.parametrize("length", [1, 2, LENGTH])
@pytest.mark.parametrize("window", [None, 1, 2, 5, 19, 20, 500])
@pytest.mark.parametrize("causal", [True, False])
def test_packed_weights_are_the_weights(length: int, window: int | None, causal: bool) -> None:
    weights, value = pack(length, window, causal)
    assert_same_weights(unpack_attention(value), weights)
    assert json.loads(json.dumps(value)) == value
    assert {"layers": LAYERS, "heads": HEADS, "kv_heads": 2}.items() <= value.items()
    assert {"window": window, "causal": causal, "label": "x", "colour": "red"}.items() <= value.items()


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_shared_heads_travel(kv_heads: int) -> None:
    assert pack(kv_heads=kv_heads)[1]["kv_heads"] == kv_heads


def test_a_text_as_long_as_the_context_stays_small_to_send() -> None:
    allowed = mask(256, 32, True)
    weights = random_weights(allowed)
    _, value = pack(256, 32, weights=weights, allowed=allowed, tokens=["x"] * 256)
    cells = int(allowed.sum()) * LAYERS * HEADS
    assert len(value["weights"]) < 1.5 * cells


def test_hostile_tokens_travel_as_they_are() -> None:
    _, value = pack(length=3, tokens=HOSTILE)
    assert value["tokens"] == HOSTILE


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"kv_heads": 3}, r"num_heads \(4\) must be divisible by num_kv_heads \(3\)"),
        ({"kv_heads": 0}, r"num_heads \(4\) must be divisible by num_kv_heads \(0\)"),
        ({"window": 0, "allowed": mask(LENGTH, 5, True)}, "window_size is 0: it must be at least 1"),
        ({"allowed": mask(LENGTH, 6, True)}, "allowed differs in 15 cells"),
        ({"causal": False, "allowed": mask(LENGTH, 5, True)}, "allowed differs in .* causal=False"),
        ({"weights": torch.full((LAYERS, HEADS, LENGTH, LENGTH), float("nan"))}, "between 0 and 1"),
        ({"weights": torch.full((LAYERS, HEADS, LENGTH, LENGTH), 1.5)}, "range from 1.5 to 1.5"),
        ({"weights": torch.full((LAYERS, HEADS, LENGTH, LENGTH), 0.05)}, "a forbidden cell holds a weight of 0.050"),
        ({"weights": torch.zeros(LAYERS, HEADS, 19, 19)}, r"weights has shape \(2, 4, 19, 19\)"),
        ({"weights": torch.zeros(HEADS, LENGTH, LENGTH)}, r"weights has shape \(4, 20, 20\)"),
        ({"tokens": []}, "at least 1 token"),
        ({"allowed": mask(19, 5, True), "weights": torch.zeros(LAYERS, HEADS, LENGTH, LENGTH)}, "allowed has shape"),
    ],
)
def test_what_could_not_be_drawn_is_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        pack(**changes)


# --- The loss chart -------------------------------------------------------------------------------------------------

CURVE = {
    "label": "gpt2",
    "colour": "var(--variant-gpt2)",
    "dash": "",
    "changes": "as published",
    "tokens_per_step": 128,
    "steps": [1, 2, 3],
    "seconds": [0.1, 0.25, 0.33337],
    "losses": [4.17434, None, float("nan")],
    "validation_steps": [0],
    "validation_seconds": [0.0],
    "validation_losses": [4.2],
}


def test_numbers_travel_as_text_and_the_rest_as_it_is() -> None:
    value = loss_chart_value([CURVE], [{"label": "uniform guessing", "loss": 4.17}], 10, "nothing yet")
    (curve,) = value["series"]
    assert curve["steps"] == "1 2 3 "
    assert curve["seconds"] == "0.1 0.25 0.3334 "
    assert curve["losses"] == "4.1743 nan nan "
    assert curve["validation_losses"] == "4.2 "
    same = ("label", "colour", "dash", "changes", "tokens_per_step")
    assert {name: curve[name] for name in same} == {name: CURVE[name] for name in same}
    assert value["references"] == [{"label": "uniform guessing", "loss": 4.17}]
    assert (value["max_steps"], value["empty"]) == (10, "nothing yet")
    assert json.loads(json.dumps(value)) == value


def test_a_curve_that_grows_only_adds_to_its_text() -> None:
    longer = CURVE | {"losses": [*CURVE["losses"], 3.5]}
    before = loss_chart_value([CURVE], [], 10, "")["series"][0]["losses"]
    after = loss_chart_value([longer], [], 10, "")["series"][0]["losses"]
    assert after == before + "3.5 "


def test_the_curves_given_stay_as_they_were() -> None:
    before = json.dumps(CURVE)
    loss_chart_value([CURVE], [], 10, "")
    assert json.dumps(CURVE) == before


def test_an_empty_chart_says_so() -> None:
    assert loss_chart_value([], [], 1, "nothing yet") == {
        "series": [], "references": [], "max_steps": 1, "empty": "nothing yet", "tokens_per_character": None
    }  # fmt: skip


# --- One head in numbers --------------------------------------------------------------------------------------------


def numbers_of(tokens: list[str], position: int, **choices: Any) -> str:
    """The value of the first head of a small model without a causal mask."""
    model = GPT2(65, 8, 2, 16, 1, causal=False, **choices)
    numbers = head_in_numbers(model, torch.arange(6), 0, 0, position)
    place = {"layer": 0, "head": 0, "position": position}
    return head_numbers_value(numbers, label="x", colour="red", tokens=tokens, shares_keys=False, causal=False, **place)


def test_without_a_causal_mask_only_the_window_hides_keys() -> None:
    value = json.loads(numbers_of([*HOSTILE, "d", "e", "f"], 3, window_size=2, positions="alibi"))
    assert value["forbidden"] == ["window", "window", "", "", "", "window"]
    assert [score is None for score in value["scores"]] == [True, True, False, False, False, True]
    assert value["bias"][3] == 0 > value["bias"][2] > value["bias"][1]
    assert value["angles"] is value["speeds"] is None
    assert value["tokens"][:3] == HOSTILE


def test_a_head_in_numbers_has_a_token_for_each_key() -> None:
    with pytest.raises(ValueError, match="there are 2 tokens and 6 keys"):
        numbers_of(["a", "b"], 0)


# --- The columns ----------------------------------------------------------------------------------------------------


def test_columns_are_given_as_they_are() -> None:
    column = {
        "label": HOSTILE[0],
        "note": "",
        "colour": "red",
        "dash": "",
        "prompt": HOSTILE[1],
        "text": "",
        "facts": [],
    }
    over = {"status": "", "writing": 0}
    assert text_columns_value((column,), "none") == {"columns": [column], "empty": "none"} | over
    assert text_columns_value([]) == {"columns": [], "empty": ""} | over


# --- Costs ----------------------------------------------------------------------------------------------------------

AXES = {"x": {"title": "T", "scale": "log", "ticks": [1, 2]}, "y": {"title": "ms", "scale": "log", "unit": "ms"}}


def test_curves_of_an_experiment_look_like_their_variants() -> None:
    curves = [{"label": str(n), "variant": v, "x": [1], "y": [None]} for n, v in enumerate(("gpt2", "other", "other"))]
    result = {"charts": [{"title": HOSTILE[0], "curves": curves}], "sentences": HOSTILE}
    sent = json.loads(experiment_board_value({"name": "x"}, result=result))["result"]
    looks = [(curve["colour"], curve["others_before"]) for curve in sent["charts"][0]["curves"]]
    assert looks == [("var(--variant-gpt2)", 0), ("var(--variant-other)", 0), ("var(--variant-other)", 1)]
    assert len({curve["dash"] for curve in sent["charts"][0]["curves"]}) == 3
    assert sent["sentences"] == HOSTILE
    with pytest.raises(ValueError, match="JSON"):
        experiment_board_value({"name": "x"}, share=float("nan"))


def test_a_row_of_a_cost_chart_fits_its_columns() -> None:
    value = json.loads(cost_chart_value([], **AXES, columns=[{"name": HOSTILE[0], "kind": ""}], rows=[["1"]]))
    assert value["columns"] == [{"name": HOSTILE[0], "kind": ""}]
    with pytest.raises(ValueError, match="a row has 2 cells for 1 columns"):
        cost_chart_value([], **AXES, columns=[{"name": "T", "kind": ""}], rows=[["1", "2"]])


def test_what_is_no_number_does_not_reach_a_cost_chart() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        cost_chart_value([{"label": "x", "measured": [[1, float("nan")]], "computed": []}], **AXES)


def test_models_of_a_block_have_the_same_parts() -> None:
    def model(label: str, **computed: int) -> dict[str, Any]:
        return {"label": label, "colour": "red", "dash": "", "computed": computed, "counted": None}

    block = {"title": "t", "note": "", "models": [model("one", attention=1), model("two", attention=2)]}
    (sent,) = json.loads(cost_bars_value([block]))["blocks"]
    assert sent["parts"] == [{"name": "attention", "pattern": "stripes"}]
    block["models"].append(model("three", other=3))
    with pytest.raises(ValueError, match=r"three has the computed parts \['other'\]; give \['attention'\]"):
        cost_bars_value([block])


def test_parts_of_a_block_are_told_apart_without_colour() -> None:
    for parts in (parameters_by_part(CONFIG), flops_by_part(CONFIG)):
        model = {"label": "x", "colour": "red", "dash": "", "computed": parts, "counted": None}
        (sent,) = json.loads(cost_bars_value([{"title": "t", "note": "", "models": [model]}]))["blocks"]
        patterns = [part["pattern"] for part in sent["parts"]]
        assert len(set(patterns)) == len(parts)
