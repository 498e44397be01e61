"""Components that draw themselves in the browser.

Each is three files of one name: a Python factory that turns results into a small JSON value, a `.js` that draws
that value, and a `.css`. The template given to Gradio is constant and every word reaches the page through
`textContent`, so nothing a model or a user writes can become markup.

What several of them need lies once in `shared/`, a script, a style or both to each subject: the attention mask, scales,
charts, tables and so on. A factory names the subjects that its component uses. The script of a large component is
several files, one for each part of its picture.

Scripts and styles do not lie in the page. Each component's are one module, which a browser fetches when the component
first appears, and keeps: the module's name holds the digest of its text.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

_FOLDER = Path(__file__).parent
SCRIPTS = "drawn"  # the folder of the modules, as the page's address has it
_modules: dict[str, str] = {}  # by name; all threads may add to it, as a name's text never changes

# What Gradio runs when a component appears, and where it looks for the names of events, in quotes. The words are for a
# page that is older than the server.
_LOADER = """// {events}
import(new URL("{path}", document.baseURI)).then(
  (module) => module.default(element, trigger, props, server, upload, watch),
  () => {{ element.textContent = "This part of the page could not be fetched; reload the page."; }},
);
"""
# The style holds for this one component, as Gradio has it for the styles that it is given.
_MODULE = """const styleOfComponent = {style};
export default function (element, trigger, props, server, upload, watch) {{
element.append(Object.assign(document.createElement("style"), {{
  textContent: `#${{CSS.escape(element.id)}} {{ ${{styleOfComponent}} }}`,
}}));
{script}
}}
"""


def drawn_component(
    name: str,
    value: dict[str, Any] | str | None = None,
    *,
    shared: Sequence[str] = (),
    parts: Sequence[str] = (),
    **options: Any,
) -> gr.HTML:
    """Build the `gr.HTML` whose drawing code lies in `<name>.js` and whose style in `<name>.css`.

    The script runs once, when the component first appears, with `element`, `props`, `watch`, `trigger` and `server` in
    reach; it watches `value` and redraws. Options such as `elem_id` and `server_functions` go to `gr.HTML`.

    Args:
        name: of the files.
        value: what is drawn first.
        shared: the subjects in `shared/` whose scripts and styles go before the component's own; `page` always does.
        parts: scripts that go between these and `<name>.js`: `<name>_<part>.js` each.
        **options: for `gr.HTML`.

    Raises:
        FileNotFoundError: a subject has neither a script nor a style, or another file is missing.
    """
    subjects = [_FOLDER / "shared" / subject for subject in ("page", *shared)]
    for subject in subjects:
        if not (subject.with_suffix(".js").exists() or subject.with_suffix(".css").exists()):
            raise FileNotFoundError(f"there is neither {subject.name}.js nor {subject.name}.css in {subject.parent}")
    scripts = [subject.with_suffix(".js") for subject in subjects if subject.with_suffix(".js").exists()]
    scripts += [_FOLDER / f"{name}_{part}.js" for part in parts]
    styles = [subject.with_suffix(".css") for subject in subjects if subject.with_suffix(".css").exists()]
    style, script = _joined([*styles, _FOLDER / f"{name}.css"]), _joined([*scripts, _FOLDER / f"{name}.js"])
    return gr.HTML(
        value=value,
        html_template=f'<div class="drawn {name.replace("_", "-")}"></div>',
        js_on_load=_LOADER.format(
            path=f"{SCRIPTS}/{_module(name, style, script)}",
            events=" ".join(sorted(set(re.findall(r'\btrigger\(("\w+")', script)))),
        ),
        apply_default_css=False,
        **options,
    )


def module_text(name: str) -> str | None:
    """The module of that name, which a component made in this process runs; None if there is none."""
    return _modules.get(name)


def modules_of(components: Sequence[str]) -> list[str]:
    """The names of the modules of these components, as far as they have been made."""
    return [name for name in _modules if name.rpartition("-")[0] in components]


def _module(name: str, style: str, script: str) -> str:
    """Have a component's module served; returns its name."""
    text = _MODULE.format(style=json.dumps(style), script=script)
    module = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.js"
    _modules[module] = text
    return module


def _joined(paths: Sequence[Path]) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)
