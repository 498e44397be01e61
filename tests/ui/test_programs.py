"""What docs/programs.md says is so: its snippet runs against a page, and it names every function and parameter."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import gradio as gr

PAGE = (Path(__file__).parents[2] / "docs" / "programs.md").read_text(encoding="utf-8")


def test_the_snippet_runs(page: tuple[gr.Blocks, str]) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert "http://127.0.0.1:7860" in snippet
    snippet = snippet.replace("http://127.0.0.1:7860", page[1]).replace("steps=60", "steps=60, text='python-docs'")
    done = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^Done: 60 steps", done.stdout, flags=re.MULTILINE)
    assert len(re.findall(r"ends with a validation loss of \d\.\d+ nats", done.stdout)) == 2
    assert done.stdout.rstrip().endswith("]")


def test_every_function_is_named_with_its_parameters(page: tuple[gr.Blocks, str]) -> None:
    endpoints: dict[str, Any] = page[0].get_api_info()["named_endpoints"]  # type: ignore[assignment]
    rows = dict(re.findall(r"^\| `(/\w+)` \| (.*?) \|", PAGE, flags=re.MULTILINE))
    assert set(rows) == set(endpoints)
    for name, endpoint in endpoints.items():
        given = [parameter["parameter_name"] for parameter in endpoint["parameters"]]
        assert not any(parameter.startswith("param_") for parameter in given), name
        said = re.findall(r"`(\w+)`", rows[name])
        if name == "/branch":
            said += re.findall(r"`(\w+)`", rows["/train"])[1:]
        assert said == given, name
        assert endpoint["description"], name
