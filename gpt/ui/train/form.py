"""What the Train tab's form holds: the setup of the run that is watched, or what a link says."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from gpt.data.corpora import CORPORA
from gpt.runs.run import Run
from gpt.ui.naming import recipe_of
from gpt.ui.sizes import SIZES
from gpt.ui.train.settings import CHOICES, OWN_TEXT, RATE_MULTIPLES, TOKENS, TrainSettings

if TYPE_CHECKING:
    from gpt.ui.catalogue import Catalogue

# The fields of `TrainSettings` that have another name in links. The text itself is in none: it is too long.
_NAMES_IN_LINKS = {
    "batch_size": "batch",
    "rate_multiple": "rate",
    "context_length": "context",
    "window_size": "window",
    "num_kv_heads": "kv_heads",
    "seeds": "repeats",
    "begins_from": "from",
}


def names_in_links() -> dict[str, str]:
    """What each field of `TrainSettings` that a link can hold is called in it."""
    settings = [field.name for field in fields(TrainSettings) if field.name != "own_text"]
    return {setting: _NAMES_IN_LINKS.get(setting, setting) for setting in settings}


def form_of(run: Run, catalogue: Catalogue, seen: Any) -> dict[str, Any]:
    """The fields of `TrainSettings` that ask for this run, as far as it tells: nothing of a window where it has none.

    Args:
        run: the run.
        catalogue: the models there are, of which it may have begun from one.
        seen: the runs and uploads that the visitor knows.
    """
    request, training = run.request, run.request.training
    configs = [config for _, config in request.models]
    recipe, multiple = recipe_of(training)
    form: dict[str, Any] = {
        "variants": [label for label, _ in request.models if label in CHOICES],
        "without_mask": any(not config.causal for config in configs),
        "text": run.corpus.name if run.corpus.name in CORPORA else OWN_TEXT,
        "tokens": _tokens(run),
        "steps": training.max_steps,
        "recipe": recipe,
        "batch_size": training.batch_size,
        "context_length": configs[0].context_length,
        "seed": training.seed,
        "seeds": request.seeds,
    }
    sizes = {name: size for name, size in SIZES.items() if all(getattr(configs[0], of) == size[of] for of in size)}
    form |= {"size": next(iter(sizes))} if sizes else {}
    form |= {"rate_multiple": multiple} if multiple in RATE_MULTIPLES else {}
    windows = [config.window_size for config in configs if config.window_size is not None]
    form |= {"window_size": windows[0]} if windows else {}
    groups = [config.kv_heads for config in configs if config.kv_heads != config.num_heads]
    form |= {"num_kv_heads": groups[0]} if groups else {}
    if request.origin is None:
        return form | {"begins_from": ""}
    begun_from = catalogue.begun_from(request.origin["name"], seen)
    return form | ({} if begun_from is None else {"begins_from": begun_from})


def _tokens(run: Run) -> str:
    """The choice of tokens that gives this vocabulary: a short text may have fewer pairs than were asked for."""
    if not run.corpus.tokenizer_sha256:
        return next(name for name, count in TOKENS.items() if count is None)
    size = run.corpus.tokenizer.vocab_size
    return next((name for name, count in TOKENS.items() if count is not None and count >= size), list(TOKENS)[-1])
