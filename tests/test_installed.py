"""The project as a package: built, installed into an environment of its own, and used from a folder anywhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

import gpt

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("gpt", "pyproject.toml", "setup.py", "requirements.txt", "README.md", "LICENSE")
MODEL = "sliding-window"  # the one that travels here: all five take seconds to pack

USERS_PROGRAM = """
from gpt import GPT2, TRAINED_MODELS, load_checkpoint
model: GPT2 = load_checkpoint(TRAINED_MODELS / "gpt2").model
reveal_type(model.generate)
number: int = model.config.positions
"""


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command, in a folder, without what the tests' own environment says of where the project lies."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, with one trained model; built beside the project, where it leaves nothing."""
    source = tmp_path_factory.mktemp("source")
    for name in PARTS:
        (source / name).symlink_to(ROOT / name)
    (source / "trained_models").mkdir()
    (source / "trained_models" / MODEL).symlink_to(ROOT / "trained_models" / MODEL)
    built = run(
        sys.executable,
        "-c",
        "from setuptools import build_meta; build_meta.build_wheel('.')",
        cwd=source,
    )
    assert built.returncode == 0, built.stderr
    (found,) = source.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a new environment that has the package, and sees what it needs in the tests' own."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=False)
    scripts = place / ("Scripts" if os.name == "nt" else "bin")
    asked = run(scripts / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=place)
    packages = Path(asked.stdout.strip())
    (packages / "those-of-the-tests.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    quickly = ("--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check", "--quiet")
    done = run(scripts / "python", "-m", "pip", "install", *quickly, "--prefix", place, wheel, cwd=place)
    assert done.returncode == 0, done.stderr
    return scripts


def test_the_package_says_what_it_is_and_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (described,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        said = message_from_string(archive.read(described).decode("utf-8"))
    assert (said["Name"], said["Version"], said["Requires-Python"]) == ("gpt-lab", gpt.__version__, ">=3.10")
    needed = {re.split("[<>=!;]", line)[0].strip() for line in said.get_all("Requires-Dist")}
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert needed == {re.split("[<>=!;]", line)[0] for line in lines if line and line[0] != "#"}
    tracked = run("git", "ls-files", "gpt", cwd=ROOT)
    if tracked.returncode == 0:  # every file of the library, whatever its ending
        assert set(tracked.stdout.split()) <= names
    assert f"gpt/trained_models/{MODEL}/model.safetensors" in names
    assert {name.split("/")[0] for name in names} == {"gpt", described.split("/")[0]}


def test_it_works_from_any_folder(installed: Path, tmp_path: Path) -> None:
    lab = ("generate", "--model", f"shipped/{MODEL}", "--prompt", "ROMEO:", "--max-new-tokens", "5", "--seed", "1")
    written = run(installed / "gpt-lab", *lab, cwd=tmp_path)
    assert written.returncode == 0, written.stderr
    assert re.match(r"ROMEO:.{5}\n", written.stdout, re.DOTALL)


def test_the_page_is_made_there(installed: Path, tmp_path: Path) -> None:
    """Up to where it would be served."""
    made = run(installed / "gpt-lab", "demo", "--port", "70000", cwd=tmp_path)
    assert made.returncode == 2
    assert made.stderr.endswith("gpt-lab demo: error: the port is 70000; give a number from 1 to 65535\n")


def test_a_users_type_checker_sees_the_types(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(USERS_PROGRAM, encoding="utf-8")
    skipped = [
        f"[mypy-{name}.*]\nfollow_imports = skip\n" for name in ("torch", "numpy", "matplotlib")
    ]  # they take long
    (tmp_path / "mypy.ini").write_text("[mypy]\n" + "".join(skipped), encoding="utf-8")
    checked = run(
        *(sys.executable, "-m", "mypy", "--python-executable", installed / "python", "--follow-imports", "silent"),
        *("--cache-dir", tmp_path / "cache", "program.py"),
        cwd=tmp_path,
    )
    assert "num_return_sequences: int" in checked.stdout, checked.stdout + checked.stderr
    assert re.search(r'program.py:5: error: Incompatible types in assignment \(.*"str".*"int"\)', checked.stdout)
    assert len(re.findall("error:", checked.stdout)) == 1
