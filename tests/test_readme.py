"""What the README says is so: its snippets run, its file tree is the folder, its front matter names the pins."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from gpt import load_checkpoint
from gpt.__main__ import main
from gpt.checkpoints.shipped import SHIPPED
from gpt.costs.formulas import parameter_count
from gpt.model.config import changes_from_gpt2

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
REQUIREMENTS = (PROJECT / "requirements.txt").read_text(encoding="utf-8")


DOCS = [path.read_text(encoding="utf-8") for path in sorted((PROJECT / "docs").glob("*.md"))]


def _blocks(language: str, *texts: str) -> list[str]:
    return [block for text in texts for block in re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)]


@pytest.mark.parametrize("snippet", _blocks("python", README))
def test_python_snippets_run(snippet: str) -> None:
    done = subprocess.run([sys.executable, "-c", snippet], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    promised = re.findall(r"print\(.*  # (?!\()(.+)", snippet)  # what a comment says is printed
    assert promised
    assert all(line in done.stdout.splitlines() for line in promised)


def test_commands_are_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """Every option that the README's and the docs' commands use is one that the command line knows."""
    told_of: dict[str, str] = {}
    for line in "\n".join(_blocks("bash", README, *DOCS)).splitlines():
        if called := re.match(r"(?:python|torchrun .+) -m gpt (\w+) (.+)", line):
            command, arguments = called.groups()
            if command not in told_of:
                with pytest.raises(SystemExit) as ended:
                    main([command, "--help"])
                assert ended.value.code == 0
                told_of[command] = capsys.readouterr().out
            told = told_of[command]
            assert all(option in told for option in re.findall(r"--[a-z-]+", arguments))


def _named(text: str) -> dict[str, list[str]]:
    """The versions that each requirement of a file asks for, one for each kind of Python it tells apart."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and line[0] not in "#-":
            name, wanted = re.match(r"([\w-]+)([^;]*)", line).groups()  # type: ignore[union-attr]
            found.setdefault(name, []).append(wanted.strip())
    return found


def test_front_matter_names_the_pins() -> None:
    front_matter = README.split("---")[1]
    (pinned,) = _named(REQUIREMENTS)["gradio"]
    assert f"sdk_version: {pinned.removeprefix('==')}\n" in front_matter
    assert re.search(r'^python_version: "(3.10|3.12)"$', front_matter, flags=re.MULTILINE)  # what ZeroGPU has
    assert "app_file: demo.py" in front_matter
    assert len(re.search(r"short_description: (.*)", front_matter)[1]) <= 60  # type: ignore[index]


def test_constraints_pin_every_requirement_within_its_range() -> None:
    wanted, pinned = _named(REQUIREMENTS), _named((PROJECT / "constraints.txt").read_text(encoding="utf-8"))
    assert pinned.keys() == wanted.keys()
    for name, versions in pinned.items():
        for version in versions:
            assert re.fullmatch(r"==[\d.]+", version), (name, version)
            assert SpecifierSet(wanted[name][0]).contains(version.removeprefix("==")), (name, version)


@pytest.mark.parametrize("requirements", ["requirements.txt", "tests/requirements.txt"])
def test_the_first_commands_install_what_is_pinned(requirements: str) -> None:
    assert f"pip install -r {requirements} -c constraints.txt && python" in README


def test_file_tree_is_the_folder() -> None:
    """Every file of every chapter below the page is named under it, in at most five lines."""
    tree = README.split("## The files")[1].split("```")[1]
    chapters = re.findall(r"^  (\w+)/ .*\n((?:    .*\n)+)", tree, flags=re.MULTILINE)
    packages = {path.parent.name for path in (PROJECT / "gpt").glob("*/__init__.py")}
    assert {name for name, _ in chapters} == packages
    for name, lines in chapters:
        assert len(lines.splitlines()) < 5
        there = {path.name for path in (PROJECT / "gpt" / name).glob("*.py")} - {"__init__.py"}
        if name != "ui":
            assert set(re.findall(r"\w+\.py", lines)) == there


def test_the_table_of_shipped_models_says_what_their_cards_say() -> None:
    table = README.split("## The models that ship")[1].split("\n\n")[1].splitlines()[2:]
    assert table == [shipped_row(name) for name in SHIPPED if (PROJECT / "trained_models" / name).is_dir()]


def shipped_row(name: str) -> str:
    """The line of a shipped model in the README's table."""
    checkpoint = load_checkpoint(PROJECT / "trained_models" / name)
    result, last = checkpoint.result, checkpoint.history[-1]
    loss, half_width = result["validation_loss"], 1.96 * result["validation_error"]
    parameters = parameter_count(checkpoint.config)
    return (
        f"| `{name}` | {', '.join(changes_from_gpt2(checkpoint.config)) or 'none'} | {parameters / 1e6:.2f} M "
        f"| {loss:.4f} ± {half_width:.3f} | {last.seconds / 60:.0f} min, {result['hardware'].split(', ')[1]} |"
    )
