"""What the README says is so: its snippets run, its file tree is the folder, its front matter names the pins."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
REQUIREMENTS = (PROJECT / "requirements.txt").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("snippet", _blocks("python"))
def test_python_snippets_run(snippet: str) -> None:
    done = subprocess.run([sys.executable, "-c", snippet], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "torch.Size([1, 6, 50000])" in done.stdout


def test_commands_are_commands() -> None:
    """Every option that the README's commands use is one that the command line knows."""
    for line in "\n".join(_blocks("bash")).splitlines():
        if called := re.match(r"(?:python|torchrun .+) -m gpt (\w+) (.+)", line):
            command, arguments = called.groups()
            told = subprocess.run(
                [sys.executable, "-m", "gpt", command, "--help"],
                cwd=PROJECT,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            assert all(option in told for option in re.findall(r"--[a-z-]+", arguments))


def test_front_matter_names_the_pins() -> None:
    front_matter = README.split("---")[1]
    (pinned,) = re.findall(r"^gradio==(\S+)$", REQUIREMENTS, flags=re.MULTILINE)
    assert f"sdk_version: {pinned}" in front_matter
    assert "app_file: demo.py" in front_matter
    assert len(re.search(r"short_description: (.*)", front_matter)[1]) <= 60  # type: ignore[index]


def test_file_tree_is_the_folder() -> None:
    tree = README.split("## The files")[1].split("```")[1]
    named = set(re.findall(r"^  (\w+\.py)", tree, flags=re.MULTILINE))
    there = {path.name for path in (PROJECT / "gpt").glob("*.py")} - {"__init__.py"}
    assert named == there
