"""How the lab looks: colours, type and space, defined once for the light and the dark page.

Components and styles use the CSS variables made here and never a colour of their own.
"""

from inspect import signature
from pathlib import Path

import gradio as gr

from gpt.figures.colours import OTHER_DASHES, VARIANT_COLOURS, variant_dash
from gpt.model.config import VARIANTS
from gpt.ui.hiding import hiding_style

_PALETTE = {
    # name: (light page, dark page)
    "paper": ("#FBFAF7", "#16181B"),
    "panel": ("#FFFFFF", "#1D2024"),
    "ink": ("#1B1D1F", "#E8E6E1"),
    "quiet": ("#5F646A", "#9AA0A6"),
    "line": ("#DEDBD3", "#34383E"),
    "error": ("#B3261E", "#F2B8B5"),
    "attention-none": ("#FFFFFF", "#1D2024"),
    "attention-full": ("#14213A", "#F1EDE2"),
    "hatch-future": ("#C4C7CB", "#4A4F56"),
    "hatch-window": ("#E0B48A", "#7A5636"),
}

_MONOSPACE = 'ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", Consolas, monospace'
_SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif'


def variant_style(variant: str, others_before: int = 0) -> dict[str, str]:
    """The colour (a CSS variable) and dash pattern of a variant; anything that is not a known variant is grey.

    Models of one colour that stand side by side differ in their dashes: `others_before` is how many come before.
    """
    known = variant if variant in VARIANT_COLOURS else "other"
    own = variant_dash(known)
    dashes = [own, *(spare for spare in OTHER_DASHES if spare != own)]
    dash = dashes[others_before % len(dashes)]
    return {"colour": f"var(--variant-{known})", "dash": " ".join(str(length) for length in dash)}


def stylesheet() -> str:
    """The page's CSS: the variables of both modes, the two files, and the variants' colours beside their names."""
    colours = _PALETTE | {f"variant-{name}": pair for name, pair in VARIANT_COLOURS.items()}
    light = "".join(f"--{name}: {pair[0]};" for name, pair in colours.items())
    dark = "".join(f"--{name}: {pair[1]};" for name, pair in colours.items())
    shared = f"--monospace: {_MONOSPACE}; --sans: {_SANS};"
    files = (Path(__file__).with_name(name) for name in ("style.css", "page_parts.css"))
    style = "\n".join(path.read_text(encoding="utf-8") for path in files)
    chips = "".join(
        f".variants label:nth-of-type({place}) {{--chip: {variant_style(name)['colour']};}}\n"
        for place, name in enumerate(VARIANTS, start=1)
    )
    paper = f"body.dark {{@media print {{{light}}}}}"  # ink on white, also of a dark page
    return f":root {{{shared}{light}}}\n.dark {{{dark}}}\n{paper}\n{style}\n{chips}{hiding_style()}"


def page_theme() -> gr.themes.Base:
    """Gradio's plain theme in our colours; both modes name the same variables, so that each is defined once."""
    theme = gr.themes.Base(
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"],
        font_mono=["ui-monospace", "SF Mono", "DejaVu Sans Mono", "Consolas", "monospace"],
        radius_size=gr.themes.sizes.radius_sm,
    )
    settings = {
        "body_background_fill": "var(--paper)",
        "body_text_color": "var(--ink)",
        "body_text_color_subdued": "var(--quiet)",
        "background_fill_primary": "var(--panel)",
        "background_fill_secondary": "var(--paper)",
        "block_background_fill": "var(--panel)",
        "block_border_color": "var(--line)",
        "block_label_text_color": "var(--quiet)",
        "block_info_text_color": "var(--quiet)",
        "block_title_text_color": "var(--ink)",
        "border_color_primary": "var(--line)",
        "input_background_fill": "var(--panel)",
        "input_border_color": "var(--line)",
        "input_border_color_focus": "var(--ink)",
        "input_border_width": "1px",
        "color_accent": "var(--ink)",
        "color_accent_soft": "var(--line)",
        "border_color_accent": "var(--ink)",
        "slider_color": "var(--ink)",
        "checkbox_background_color_selected": "var(--quiet)",
        "checkbox_border_color": "var(--quiet)",
        "checkbox_border_color_selected": "var(--quiet)",
        "checkbox_label_background_fill": "var(--panel)",
        "checkbox_label_background_fill_selected": "var(--panel)",
        "checkbox_label_border_width": "1px",
        "error_border_color": "var(--error)",
        "error_text_color": "var(--error)",
        "button_primary_background_fill": "var(--ink)",
        "button_primary_border_color": "var(--ink)",
        "button_primary_background_fill_hover": "var(--quiet)",
        "button_primary_text_color": "var(--panel)",
        "button_secondary_background_fill": "var(--panel)",
        "button_secondary_border_color": "var(--line)",
        "button_secondary_text_color": "var(--ink)",
    }
    has_dark = signature(theme.set).parameters
    return theme.set(
        **settings, **{f"{name}_dark": value for name, value in settings.items() if f"{name}_dark" in has_dark}
    )
