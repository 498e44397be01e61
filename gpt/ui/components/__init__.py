"""Components that draw themselves in the browser.

Each is three files of one name: a Python factory that turns results into a small JSON value, a `.js` that draws
that value, and a `.css`. The template given to Gradio is constant and every word reaches the page through
`textContent`, so nothing a model or a user writes can become markup.

What several of them need lies once in `shared/`, a script, a style or both to each subject: the attention mask, scales,
charts, tables and so on. A factory names the subjects that its component uses. The script of a large component is
several files, one for each part of its picture.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

_FOLDER = Path(__file__).parent


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
    return gr.HTML(
        value=value,
        html_template=f'<div class="drawn {name.replace("_", "-")}"></div>',
        css_template=_joined([*styles, _FOLDER / f"{name}.css"]),
        js_on_load=_joined([*scripts, _FOLDER / f"{name}.js"]),
        apply_default_css=False,
        **options,
    )


def _joined(paths: Sequence[Path]) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)
