"""A visitor of the page, as far as the server can tell: what a browser asks for, and what it is told about a run.

Only HTTP, and only what the page itself sends: its functions through Gradio's queue, with what its controls hold.
"""

from __future__ import annotations

import http.client
import itertools
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

SECONDS_BETWEEN_SIGNS = 15.0  # after which a page that shows a run says so


class PageChanged(ValueError):
    """The page is not what this visitor knows."""


@dataclass
class Sight:
    """What a visitor saw of a run.

    Attributes:
        changes: for each change of the chart from its first point on, when it came (`time.perf_counter`) and how many
            training losses it then had, over all curves.
        chart: as it was at the end.
        said: the sentence under it at the end.
        ended: when the server had told all; None if the visitor left before.
    """

    changes: list[tuple[float, int]] = field(default_factory=list)
    chart: dict[str, Any] = field(default_factory=dict)
    said: str = ""
    ended: float | None = None

    @property
    def longest_gap(self) -> float:
        """The longest time between two changes, in seconds; 0 where there are fewer than two."""
        moments = [moment for moment, _ in self.changes]
        return max((later - earlier for earlier, later in itertools.pairwise(moments)), default=0.0)

    @property
    def steps_per_second(self) -> float:
        """Steps of training, of all models, for each second from the first point to the last."""
        if len(self.changes) < 2:
            return 0.0
        (first, before), (last, after) = self.changes[0], self.changes[-1]
        return (after - before) / (last - first)


class Visitor:
    """One browser tab.

    Args:
        port: of the page, on this machine.
        number: tells tabs apart.
        most_seconds: to wait for an answer.

    Raises:
        OSError: there is no answer.
    """

    def __init__(self, port: int, number: int = 0, most_seconds: float = 120.0) -> None:
        self._port, self._most_seconds = port, most_seconds
        self._session = f"bench{number}"
        with self._asked("GET", "/") as answer:
            answer.read()
        with self._asked("GET", "/config") as answer:
            config = json.load(answer)
        self._functions = {one["api_name"]: one for one in config["dependencies"] if one["api_name"]}
        self._secret: str | None = None  # the page gives one at the first press
        self._components = {one["id"]: one["props"] for one in config["components"]}

    def controls(self) -> dict[str, Any]:
        """What the controls of the Train tab hold, by their labels."""
        inputs = self._function("train")["inputs"]
        return {str(self._components[one].get("label")): self._components[one].get("value") for one in inputs[2:]}

    def press_train(self, **changes: Any) -> str:
        """Press Train; returns what the page is then to watch.

        Args:
            changes: of what the controls hold, by their labels.
        """
        held = self.controls()
        if unknown := changes.keys() - held.keys():
            raise PageChanged(f"the Train tab has no control {', '.join(sorted(unknown))}; it has {', '.join(held)}")
        *_, told = self._call("train", [self._secret, None, *(held | changes).values()])
        watched, _, self._secret = told["output"]["data"]
        return str(watched)

    def press_stop(self, watched: str) -> None:
        """Press Stop, which ends a run of this visitor's own."""
        for _ in self._call("stop", [self._secret, watched]):
            pass

    def watch(self, watched: str, most_seconds: float = math.inf) -> Sight:
        """Look at a run until its end, or for some seconds from its first point on."""
        sight, signed = Sight(), time.perf_counter()
        for message in self._call("watch", [watched]):
            now = time.perf_counter()
            if message["msg"] == "process_generating" and (data := message["output"]["data"]):
                _take_in(sight, now, data[0], data[1])
            if sight.changes and now - sight.changes[0][0] > most_seconds:
                return sight
            if now - signed > SECONDS_BETWEEN_SIGNS:
                self.give_sign(watched)
                signed = now
        sight.ended = time.perf_counter()
        return sight

    def give_sign(self, watched: str) -> None:
        """Tell that the page still shows this run, as it does by itself."""
        panel = next(one for one, props in self._components.items() if props.get("elem_id") == "run-panel")
        body = {"component_id": panel, "fn_name": "still_watching", "data": {"run": watched.partition(" ")[0]}}
        with self._asked("POST", "/gradio_api/component_server", body | {"session_hash": self._session}) as answer:
            answer.read()

    def _function(self, name: str) -> dict[str, Any]:
        if name not in self._functions:
            raise PageChanged(f"the page has no function {name!r}")
        return dict(self._functions[name])

    def _call(self, name: str, inputs: list[Any]) -> Iterator[dict[str, Any]]:
        """Call one of the page's functions, and give each message of the server's about it, to the last."""
        body = {"fn_index": self._function(name)["id"], "data": inputs, "session_hash": self._session}
        with self._asked("POST", "/gradio_api/queue/join", body) as answer:
            event = json.load(answer)["event_id"]
        told = time.perf_counter()
        with self._asked("GET", f"/gradio_api/queue/data?session_hash={self._session}") as answer:
            for line in answer:  # now and then one that the server lives, so this loop goes on
                if time.perf_counter() - told > self._most_seconds:
                    raise TimeoutError(f"the page's {name} has told nothing for {self._most_seconds:.0f} seconds")
                if not line.startswith(b"data: "):
                    continue
                message = json.loads(line[6:])
                if message.get("event_id") != event:
                    continue
                if message.get("success") is False:
                    raise OSError(f"the page's {name} failed: {message['output'].get('error')}")
                told = time.perf_counter()
                yield message
                if message["msg"] == "process_completed":
                    return

    @contextmanager
    def _asked(self, method: str, path: str, body: Any = None) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=self._most_seconds)
        try:
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            if answer.status != 200:
                raise OSError(f"the page answered {method} {path.partition('?')[0]} with status {answer.status}")
            yield answer
        finally:
            connection.close()


def _take_in(sight: Sight, now: float, chart: Any, panel: Any) -> None:
    """Bring up to date what is seen; Gradio sends a value whole at first, and then what has changed in it."""
    if isinstance(chart, dict):
        sight.chart = chart
    else:
        for change in chart:
            _change(sight.chart, *change)
    if isinstance(panel, dict):
        sight.said = panel["sentence"]
    else:
        sight.said = next((value for _, path, value in panel if path == ["sentence"]), sight.said)
    series = sight.chart["series"]
    if chart and any(curve["losses"] or curve["validation_losses"] for curve in series):
        sight.changes.append((now, sum(len(curve["losses"].split()) for curve in series)))


def _change(value: Any, action: str, path: list[Any], new: Any) -> None:
    *way, last = path
    for step in way:
        value = value[step]
    if action == "append":
        value[last] += new
    elif action == "delete":
        del value[last]
    elif action == "add" and isinstance(value, list):
        value.insert(last, new)
    else:
        value[last] = new
