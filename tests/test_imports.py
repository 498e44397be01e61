"""Who imports whom: downwards only, and nothing in a circle. Every import counts, also those inside functions."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Each chapter may import those on the lines above its own. `lazy` is the door of all faces, `terminal` of all programs.
LAYERS = (
    {"lazy", "terminal", "folders"},
    {"model"},
    {"data", "costs"},
    {"generation"},
    {"training", "interpret"},
    {"checkpoints", "figures"},
    {"experiments"},
    {"runs"},
    {"ui", "bench", "__main__"},
)
NOT_OF_EACH_OTHER = ({"ui"}, {"bench", "__main__"})
# What is imported upwards, inside a function: by `GPT2.generate`, which its users expect on the model; and by the
# command `demo`, so that what `pip install` brings has one program, whose other commands never load the page.
THE_EXCEPTIONS = (("gpt.model.gpt2", "gpt.generation"), ("gpt.__main__", "gpt.ui.program"))
HEAVY = ("torch", "gradio", "matplotlib")


def files_of(root: Path) -> dict[str, str]:
    """The text of every Python file of the package, by the name of its module."""
    found = {}
    for path in sorted((root / "gpt").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return found


def imports_of(files: Mapping[str, str]) -> dict[str, set[str]]:
    """For each module, those of the package that it imports: a name's own module where the name is one."""
    graph: dict[str, set[str]] = {}
    for module, text in files.items():
        graph[module] = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                graph[module] |= {alias.name for alias in node.names if alias.name in files}
            elif isinstance(node, ast.ImportFrom) and node.module:
                assert node.level == 0, f"{module} has a relative import"
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    graph[module] |= {name for name in (full if full in files else node.module,) if name in files}
    return graph


def a_circle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """One circle of the graph, as the way round; empty if there is none."""
    done: set[str] = set()

    def walk(at: str, way: list[str]) -> list[str]:
        if at in way:
            return [*way[way.index(at) :], at]
        if at in done:
            return []
        for following in sorted(graph.get(at, ())):
            if found := walk(following, [*way, at]):
                return found
        done.add(at)
        return []

    return next((found for start in graph if (found := walk(start, []))), [])


def without_the_exceptions(graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The graph without `THE_EXCEPTIONS`."""
    return {
        name: {to for to in tos if not any(name == module and to.startswith(what) for module, what in THE_EXCEPTIONS)}
        for name, tos in graph.items()
    }


def chapter_of(module: str) -> str:
    """The chapter of a module: "gpt.model.masks" is in "model"."""
    return module.split(".")[1] if "." in module else ""


FILES = files_of(ROOT)
GRAPH = without_the_exceptions(imports_of(FILES))


def test_no_circle_between_files():
    assert a_circle(GRAPH) == []


def test_no_circle_between_chapters():
    chapters: dict[str, set[str]] = {}
    for module, imported in GRAPH.items():
        here = chapter_of(module)
        chapters.setdefault(here, set()).update({chapter_of(name) for name in imported} - {here, ""})
    assert a_circle(chapters) == []


def test_a_planted_circle_is_found():
    """Between files, also by an import inside a function, and between chapters."""
    planted = FILES | {"gpt.model.masks": "def later():\n    from gpt.model import attention\n    return attention\n"}
    assert set(a_circle(without_the_exceptions(imports_of(planted)))) >= {"gpt.model.masks", "gpt.model.attention"}
    assert a_circle({"data": {"model"}, "model": {"training"}, "training": {"data"}}) == [
        *("data", "model", "training", "data"),
    ]
    planted = FILES | {"gpt.data.text": "import gpt.data.corpora\n"}
    assert a_circle(imports_of(planted))


@pytest.mark.parametrize("module", [name for name in GRAPH if name != "gpt"])
def test_imports_go_downwards(module):
    here = chapter_of(module)
    height = next(height for height, layer in enumerate(LAYERS) if here in layer)
    allowed = {here}.union(*LAYERS[:height])
    if here == "__main__":
        allowed |= {"bench", ""}  # the package itself, for its version
    assert {chapter_of(name) for name in GRAPH[module]} <= allowed


def test_nobody_reaches_past_a_face_into_what_is_private():
    for module, text in FILES.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("gpt."):
                private = [alias.name for alias in node.names if alias.name.startswith("_")]
                assert not private or chapter_of(str(node.module)) == chapter_of(module), (module, private)


def test_tabs_do_not_import_each_other():
    tabs = {"train", "compare", "attention", "cost", "experiments"}
    for module, imported in GRAPH.items():
        parts = module.split(".")
        if parts[1:2] == ["ui"] and len(parts) > 2 and parts[2] in tabs:
            others = {name.split(".")[2] for name in imported if name.startswith("gpt.ui.")} & tabs - {parts[2]}
            assert not others, f"{module} imports from {others}"


def test_only_the_page_knows_gradio_and_nothing_unpickles():
    for module, text in FILES.items():
        imported = {
            name.split(".")[0]
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [str(node.module)])
        }
        assert "pickle" not in imported
        assert "gradio" not in imported or chapter_of(module) == "ui"
        assert "transformers" not in imported or chapter_of(module) == "bench"
        assert "torch.load(" not in text
        assert "torch.save(" not in text


def test_no_file_is_longer_than_a_room():
    """400 lines of Python, 600 of a script; what is longer does something twice."""
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "gpt").rglob("*.*s*")}
    lengths |= {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "gpt").rglob("*.py")}
    most = {".py": 400, ".js": 600}
    assert not {path.name: n for path, n in lengths.items() if n > most.get(path.suffix, 10**6)}
