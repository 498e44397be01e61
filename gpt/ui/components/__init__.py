"""Components that draw themselves in the browser.

Each is three files of one name: a Python factory that turns results into a small JSON value, a `.js` that draws
that value, and a `.css`. The template given to Gradio is constant and every word reaches the page through
`textContent`, so nothing a model or a user writes can become markup.
"""

from pathlib import Path
from typing import Any

import gradio as gr

_FOLDER = Path(__file__).parent


def drawn_component(name: str, value: dict[str, Any] | None = None, **options: Any) -> gr.HTML:
    """Build the `gr.HTML` whose drawing code lies in `<name>.js` and whose style in `<name>.css`.

    The script, behind `shared.js`, runs once, when the component first appears, with `element`, `props`, `watch`,
    `trigger` and `server` in reach; it watches `value` and redraws. Options such as `elem_id` and `server_functions`
    go to `gr.HTML`.
    """
    scripts = [(_FOLDER / script).read_text(encoding="utf-8") for script in ("shared.js", f"{name}.js")]
    return gr.HTML(
        value=value,
        html_template=f'<div class="{name.replace("_", "-")}"></div>',
        css_template=(_FOLDER / f"{name}.css").read_text(encoding="utf-8"),
        js_on_load="\n".join(scripts),
        apply_default_css=False,
        **options,
    )
