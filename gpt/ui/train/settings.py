"""What the Train tab can be set to, its presets, and the check of what its controls say."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gpt.data.corpora import CORPORA
from gpt.model.config import VARIANTS, GPTConfig, adjusted_config
from gpt.runs.limits import LARGEST_OWN_TEXT
from gpt.runs.request import RunRequest
from gpt.training.recipes import RATES, RECIPES, TrainConfig
from gpt.ui.requests import require_choice, require_choices, require_number, require_text, require_whole
from gpt.ui.sizes import SIZES, TINY, TRAINED_CONTEXTS

if TYPE_CHECKING:
    from gpt.data.corpus import Corpus
    from gpt.ui.catalogue import Beginning

MOST_STEPS = 5000
_LONGEST_MODEL_NAME = 200  # characters
OWN_TEXT = "your own text"
RATE_MULTIPLES = (0.1, 0.3, 1, 3, 10)  # of a recipe's own
NO_POSITIONS = "no-positions"  # gpt2 without its positions: there to answer a question, no variant to be used
# The variants, and then this one.
CHOICES: ChainMap[str, Callable[..., GPTConfig]] = ChainMap(
    {NO_POSITIONS: partial(VARIANTS["gpt2"], positions="none")}, VARIANTS
)
# What a token is: a character, or one of so many byte pairs, the 256 bytes among them.
TOKENS: dict[str, int | None] = {
    "characters": None,
    "byte pairs, 320 tokens": 320,
    "byte pairs, 512 tokens": 512,
    "byte pairs, 1,024 tokens": 1024,
}


@dataclass(frozen=True)
class Preset:
    """A question that the tab can be set up to ask."""

    question: str
    variants: tuple[str, ...]
    without_mask: bool = False
    size: str = TINY  # so that a whole run takes no minute, on two slow cores either
    steps: int = 200


PRESETS = (
    Preset("What do positions do?", ("gpt2", "rotary", NO_POSITIONS)),
    Preset("A window of 8", ("gpt2", "sliding-window")),
    Preset("Fewer KV heads", ("gpt2", "grouped-query")),
    Preset("Take the mask away", ("gpt2",), without_mask=True),
)


@dataclass(frozen=True)
class TrainSettings:
    """What the controls say, checked; the fields are the controls in their order.

    Raises:
        ValueError: a control holds what it cannot; the message is for the person at the controls.
    """

    variants: Any
    without_mask: Any
    size: Any
    text: Any
    own_text: Any
    tokens: Any
    steps: Any
    recipe: Any
    batch_size: Any
    rate_multiple: Any
    context_length: Any
    window_size: Any
    num_kv_heads: Any
    seed: Any
    seeds: Any
    begins_from: Any = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "variants", require_choices("variants", self.variants, CHOICES))  # each once
        require_text("the model to begin from", self.begins_from, _LONGEST_MODEL_NAME)
        if not self.variants and not self.begins_from:
            raise ValueError("no variant is chosen; choose at least one")
        if not isinstance(self.without_mask, bool):
            raise ValueError(f"the mask switch is {self.without_mask!r}; give true or false")
        require_choice("size", self.size, SIZES)
        require_choice("text", self.text, [*CORPORA, OWN_TEXT])
        if self.text == OWN_TEXT:
            require_text("your own text", self.own_text, LARGEST_OWN_TEXT)
        require_choice("tokens", self.tokens, TOKENS)
        require_choice("recipe", self.recipe, RECIPES)
        require_choice("context", self.context_length, TRAINED_CONTEXTS)
        require_number("the learning rate's multiple", self.rate_multiple, 0.01, 100)
        for name, lowest, highest in (
            ("steps", 1, MOST_STEPS),
            ("batch_size", 1, 128),
            ("window_size", 1, 256),
            ("num_kv_heads", 1, 6),
            ("seed", 0, 2**31),
            ("seeds", 1, 3),
        ):
            whole = require_whole(name.replace("_", " "), getattr(self, name), lowest, highest)
            object.__setattr__(self, name, whole)  # what a slider sends as 8.0 is 8

    def request(self, corpus: Corpus, beginning: Beginning | None = None) -> RunRequest:
        """The run these settings ask for, on that corpus, in the tokens of the model to begin from if there is one."""
        if beginning is None:
            models, begins_from = self._models(corpus.tokenizer.vocab_size), ""
        else:
            models, begins_from = [(beginning.label, beginning.config)], beginning.begins_from
        recipe = TrainConfig(**RECIPES[self.recipe])
        rates: dict[str, Any] = {
            name: None if getattr(recipe, name) is None else getattr(recipe, name) * self.rate_multiple
            for name in RATES
        }
        training = replace(
            recipe,
            **rates,
            max_steps=self.steps,
            batch_size=self.batch_size,
            eval_interval=max(10, self.steps // 12),
            seed=self.seed,
            device="cpu",
        )
        digest = corpus.tokenizer_sha256
        return RunRequest(
            tuple(models), corpus.sha256, training, self.seeds, tokenizer_sha256=digest, begins_from=begins_from
        )

    def _models(self, vocab_size: int) -> list[tuple[str, GPTConfig]]:
        models = [(variant, self._config(variant, vocab_size)) for variant in self.variants]
        if self.without_mask:
            models += [(f"{variant}, no mask", replace(config, causal=False)) for variant, config in models]
        return models

    def _config(self, variant: str, vocab_size: int) -> GPTConfig:
        size = SIZES[self.size] | {"context_length": self.context_length}
        adjusted = {"window_size": self.window_size, "num_kv_heads": self.num_kv_heads}
        if variant == NO_POSITIONS:
            return replace(adjusted_config("gpt2", vocab_size, **adjusted, **size), positions="none")
        return adjusted_config(variant, vocab_size, **adjusted, **size)


SETTINGS = tuple(field.name for field in fields(TrainSettings))  # as programs name them, in the order of the controls
