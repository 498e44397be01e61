"""The door through which public names come: each is loaded when it is first asked for.

So `import gpt` costs next to nothing, and the page can be shown before PyTorch is there.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def face(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """What a package's `__init__.py` calls `__getattr__`, `__dir__` and `__all__`.

    The names are written down once, as the imports below `if TYPE_CHECKING:` in that file. A type checker reads them
    there, and so does this function, which makes each when it is asked for. Modules of the package are found likewise.

    Args:
        package: the `__name__` of the file that asks.
    """
    source = Path(str(sys.modules[package].__file__)).read_text(encoding="utf-8")
    home_of = {
        alias.name: str(line.module)
        for block in ast.parse(source).body
        if isinstance(block, ast.If)
        for line in block.body
        if isinstance(line, ast.ImportFrom)
        for alias in line.names
    }

    def load(name: str) -> Any:
        if name in home_of:
            value = getattr(import_module(home_of[name]), name)
            setattr(sys.modules[package], name, value)  # the next time it is simply there
            return value
        if not name.startswith("_") and find_spec(f"{package}.{name}"):
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    names = sorted(home_of)
    return load, lambda: names, names
