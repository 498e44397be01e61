"""The page as a program sees it: served over HTTP, driven through `gradio_client`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import gradio as gr
import httpx
import pytest
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError
from served import SHIPPED, assert_same_weights, assert_sentence, controls, settings, unpack_attention

from gpt import attention_maps, load_checkpoint
from gpt.ui.app import create_demo
from gpt.ui.sizes import SIZES

PUBLIC = {
    *("/train", "/watch", "/pause", "/step_once", "/stop", "/restart", "/branch", "/export", "/export_transformers"),
    *("/generate", "/expect", "/read", "/attention"),
    *("/measure_time", "/measure_cache", "/count_parts"),
    *("/experiment", "/watch_experiment"),
}
BOTH = [f"shipped/{name}" for name in SHIPPED]
ON_PYTHON_DOCS = {"text": "python-docs", "own_text": ""}


@pytest.fixture(scope="module")
def address(page: tuple[gr.Blocks, str]) -> str:
    """Where the page is."""
    return page[1]


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Client]:
    """A visitor's program."""
    client = Client(address, verbose=False, analytics_enabled=False)
    yield client
    client.close()


def train(client: Client, **changes: Any) -> tuple[str, str]:
    """Press Train; (what to watch, the visitor's secret)."""
    return client.predict("", *controls(**ON_PYTHON_DOCS | changes), api_name="/train")


def sentence_of(panel: Any) -> str:
    """The sentence in what `/watch` and `/stop` answer."""
    return panel["sentence"]


# --- The page -------------------------------------------------------------------------------------------------------


def test_the_page_answers(address: str) -> None:
    answer = httpx.get(address)
    assert answer.status_code == 200
    assert "GPT Lab" in answer.text


def test_the_tabs_are_there(page: tuple[gr.Blocks, str]) -> None:
    tabs = [part["props"]["label"] for part in page[0].config["components"] if part["type"] == "tabitem"]
    assert tabs == ["Train", "Compare", "Write", "Step by step", "Read a text", "Attention", "Cost", "Experiments"]


def test_the_public_endpoints_are_these(client: Client) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)
    assert set(endpoints["named_endpoints"]) == PUBLIC
    assert not endpoints["unnamed_endpoints"]


def test_the_page_says_nothing_about_itself_to_others(page: tuple[gr.Blocks, str], address: str) -> None:
    config = httpx.get(f"{address}config").json()
    assert config["analytics_enabled"] is False
    assert httpx.get(f"{address}monitoring").status_code in (403, 404)


def test_no_event_cuts_a_watch_off(page: tuple[gr.Blocks, str]) -> None:
    # What it showed last could then come after what another event shows, and would stay.
    events = page[0].config["dependencies"]
    view = next(event["outputs"] for event in events if event["api_name"] == "watch")
    watches = [event["id"] for event in events if event["outputs"] == view]
    assert len(watches) == 2  # begun by the page, and taken up again
    assert not any(set(watches) & set(event["cancels"]) for event in events)


def test_two_pages_share_nothing(page: tuple[gr.Blocks, str], models_folder: Any) -> None:
    assert create_demo(models_folder=models_folder) is not page[0]


# --- Train ----------------------------------------------------------------------------------------------------------


def test_training_is_watched_to_its_end(client: Client) -> None:
    watched, secret = train(client, variants=["gpt2", "sliding-window"], steps=20)
    assert len(secret) == 32
    key = watched.split()[0]
    views = list(client.submit(watched, api_name="/watch"))
    chart, panel = views[-1][:2]
    assert sentence_of(panel).startswith("Done: 20 steps, ")
    assert panel["run"] == key
    assert [curve["label"] for curve in chart["series"]] == ["gpt2", "sliding-window"]
    for curve in chart["series"]:
        assert len(curve["losses"].split()) == 20
    assert all(len(model["samples"]) == 3 for model in panel["models"])


def test_a_program_can_use_the_models_it_has_trained(client: Client) -> None:
    watched, _ = train(client, variants=["gpt2", "sliding-window"], steps=20)
    key = watched.split()[0]
    assert sentence_of(list(client.submit(watched, api_name="/watch"))[-1][1]).startswith("Done")
    trained = [f"run/{key}/0", f"run/{key}/1"]
    value = client.predict(trained, "import", False, 30, "", 0.8, 0, 1, 7, api_name="/generate")
    assert [len(column["text"]) for column in value["columns"]] == [30, 30]
    value, _ = client.predict(trained[1], "", "import this", api_name="/attention")
    (drawn,) = value["models"]
    assert drawn["label"].startswith("sliding-window, 20 steps, ")
    assert drawn["window"] == settings()["window_size"]


def test_costs_are_measured_and_counted(client: Client) -> None:
    times = [json.loads(value) for value in client.submit(8, "forward only", 512, api_name="/measure_time")]
    assert times[-1]["status"].startswith("Done: 100 measurements in ")
    assert [len(curve["measured"]) for curve in times[-1]["curves"]] == [4, 4]
    cache = [json.loads(value) for value in client.submit(BOTH, api_name="/measure_cache")]
    assert [row[4] for row in cache[-1]["rows"]] == ["yes", "–", "yes", "–"]
    parts = json.loads(client.predict(next(iter(SIZES)), 64, 8, [], api_name="/count_parts"))
    assert [block["title"] for block in parts["blocks"]] == ["Parameters", "Multiplications and additions per token"]


def test_pause_step_and_stop(client: Client) -> None:
    watched, secret = train(client, steps=3000)
    key = watched.split()[0]

    def held() -> str:
        for _, panel, *_ in client.submit(watched, api_name="/watch"):
            if sentence_of(panel).startswith("Paused. Step"):
                return sentence_of(panel)
        pytest.fail("the run did not pause")

    again, kept = client.predict(secret, watched, api_name="/pause")
    assert (again.split()[0], kept) == (key, secret)
    before = held()
    client.predict(secret, watched, api_name="/step_once")
    after = held()
    numbers = [int(sentence.split()[2].replace(",", "")) for sentence in (before, after)]
    assert numbers[1] in (numbers[0], numbers[0] + 1)
    stopped = client.predict(secret, watched, api_name="/stop")
    assert sentence_of(stopped[1]).startswith("Stopped. Step ")


def test_somebody_elses_stop_does_not_stop(client: Client) -> None:
    watched, secret = train(client, steps=2990)
    left = client.predict("", watched, api_name="/stop")
    assert [curve["label"] for curve in left[0]["series"]] == SHIPPED
    view = next(iter(client.submit(watched, api_name="/watch")))
    assert not sentence_of(view[1]).startswith("Stopped")
    client.predict(secret, watched, api_name="/stop")


# --- Compare and Attention ------------------------------------------------------------------------------------------


def test_two_models_write_side_by_side(client: Client) -> None:
    values = list(client.submit(BOTH, "The fox", False, 400, "", 0.8, 0, 1, 7, api_name="/generate"))
    assert len(values) > 1
    lengths = [[len(column["text"]) for column in value["columns"]] for value in values]
    assert lengths == sorted(lengths)
    assert lengths[-1] == [400, 400]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_attention_sent_is_the_attention_computed(client: Client, models_folder: Any, name: str) -> None:
    text = "Who jumps so quick?"
    value, _ = client.predict(f"shipped/{name}", "", text, api_name="/attention")
    checkpoint = load_checkpoint(models_folder / name)
    weights = attention_maps(checkpoint.model, torch.tensor([checkpoint.tokenizer.encode(text)]))[:, 0]
    assert_same_weights(unpack_attention(value["models"][0]), weights)


# --- What is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "arguments", "match"),
    [
        ("/generate", [BOTH, "", False, 20, "", 0.8, 0, 1, 7], "The prompt is empty"),
        ("/generate", [BOTH, "The", False, 20, "", 0.8, 0, 1, None], "Seed is None"),
        ("/generate", [BOTH, "The", False, 20, "", 0.8, 0, 1, -1], "Seed is -1"),
        ("/generate", [[], "The", False, 20, "", 0.8, 0, 1, 7], "No model is chosen"),
        ("/attention", ["shipped/gpt2", "", ""], "The text is empty"),
        ("/attention", ["shipped/gpt2", "", "dog #"], "never seen '#'"),
        ("/attention", ["shipped/gpt2", "", "o" * 33], "has 33 characters"),
        ("/measure_time", [0, "forward only", 512], "Window is 0"),
        ("/measure_time", [8, "sideways", 512], "What is timed is 'sideways'"),
        ("/measure_time", [8, "forward only", 500], "The longest text is 500"),
        ("/measure_cache", [[]], "No model is chosen"),
        ("/measure_cache", [["shipped/none"]], "no longer here"),
        ("/count_parts", ["huge", 256, 64, []], "What is counted is 'huge'"),
        ("/count_parts", ["the models chosen above", 256, 64, []], "No model is chosen"),
        ("/pause", ["", "0123456789ab"], "press Train to start one"),
        ("/step_once", ["", ""], "press Train to start one"),
        ("/stop", ["", ""], "press Train to start one"),
    ],
    ids=lambda value: f"{value!r:.40}",
)
def test_what_cannot_be_is_answered_in_a_sentence(
    client: Client, endpoint: str, arguments: list[Any], match: str
) -> None:
    with pytest.raises(AppError) as caught:
        client.predict(*arguments, api_name=endpoint)
    assert_sentence(str(caught.value), match)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"variants": []}, "No variant is chosen"),
        ({"own_text": "", "text": "your own text"}, "holds no text"),
        ({"own_text": "a", "text": "your own text"}, "only the character 'a'"),
        ({"seed": None}, "Seed is None"),
        ({"seed": -5}, "Seed is -5"),
    ],
    ids=lambda value: f"{value!r:.40}",
)
def test_what_cannot_be_trained_is_answered_in_a_sentence(client: Client, changes: dict[str, Any], match: str) -> None:
    with pytest.raises(AppError) as caught:
        train(client, **changes)
    assert_sentence(str(caught.value), match)


def answer(address: str, endpoint: str, body: str) -> str:
    """The last event of a call whose JSON no well-behaved program would send."""
    called = httpx.post(
        f"{address}gradio_api/call{endpoint}", content=body, headers={"content-type": "application/json"}
    )
    if called.status_code != 200:
        return called.text
    return httpx.get(f"{address}gradio_api/call{endpoint}/{called.json()['event_id']}", timeout=30).text


@pytest.mark.parametrize("value", ["NaN", "null", "[8]", '"8"', "9" * 400], ids=lambda v: v[:9])
@pytest.mark.parametrize("place", [5, 8])  # a slider and a box
def test_raw_nonsense_shows_no_traceback_and_does_no_harm(address: str, place: int, value: str) -> None:
    data = [json.dumps(part) for part in (BOTH, "The", False, 20, "", 0.8, 0, 1, 7)]
    data[place] = value
    told = answer(address, "/generate", f'{{"data": [{", ".join(data)}]}}')
    assert "Traceback" not in told
    assert "site-packages" not in told
    assert httpx.get(address).status_code == 200


@pytest.mark.parametrize(("place", "value"), [(0, "NaN"), (0, "null"), (1, "{}"), (2, "true"), (2, '"8"')])
def test_raw_nonsense_is_not_measured(address: str, place: int, value: str) -> None:
    data = ["8", '"forward only"', "512"]
    data[place] = value
    told = answer(address, "/measure_time", f'{{"data": [{", ".join(data)}]}}')
    assert "event: error" in told
    (said,) = [line for line in told.splitlines() if line.startswith("data:")]
    assert_sentence(json.loads(said.removeprefix("data:"))["error"], "is")


@pytest.mark.parametrize("value", ["NaN", "-1", "true", "null", "[8]", "{}", '"8"', "1e300"])
@pytest.mark.parametrize("name", ["steps", "seed"])  # a slider and a box; the handlers' tests have all controls
def test_raw_nonsense_for_a_number_is_answered_in_a_sentence(address: str, name: str, value: str) -> None:
    held = {key: json.dumps(part) for key, part in settings().items()} | {name: value}
    told = answer(address, "/train", f'{{"data": ["", {", ".join(held.values())}]}}')
    (data,) = [line for line in told.splitlines() if line.startswith("data:")]
    assert "event: error" in told
    said = json.loads(data.removeprefix("data:"))["error"]
    assert said
    assert said.endswith(".")
