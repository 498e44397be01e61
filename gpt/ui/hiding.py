"""What a link can leave out of the page with `hide=`, for lessons and for pages that show the lab in a frame."""

from __future__ import annotations

# By the names in links: what stands in the page under these selectors.
HIDDEN = {
    "title": "#title",
    "tabs": ".gradio-container .tabs:not(.tabs .tabs) > .tab-wrapper",  # only one tab is then there
    "links": "#link-bar",
    "presets": ".presets, #prompts",  # Train's; the examples of Compare
    "settings": ".controls > :not(.buttons), #settings-fold",
    "details": ".details",
    "take-home": ".take-home",
    "diagnostics": "#diagnostics",
}


def hiding_style() -> str:
    """The CSS that leaves them out, where the page's root says so; address.js has it say what the address does."""
    return "".join(
        f":root[data-hide~='{name}'] :is({selector}) {{display: none !important;}}\n"
        for name, selector in HIDDEN.items()
    )
