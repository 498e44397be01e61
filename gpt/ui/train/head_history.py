"""What the heads of a run's models did at every step of which weights were kept, by one score at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from gpt.model.config import GPTConfig, variant_name
from gpt.runs.run import Member, Run
from gpt.ui.limiter import COMPUTING
from gpt.ui.theme import variant_style

# What needs PyTorch is imported where it is used, because the page is made before PyTorch is loaded.
if TYPE_CHECKING:
    from torch import Tensor

_LONGEST = 128  # tokens of the text that heads are scored on; a longer one would change the scores little


@dataclass(frozen=True)
class _Probe:
    """What heads are scored on: (T,) token ids, and what they are, in words."""

    ids: Tensor
    words: str


class HeadHistory:
    """Scores of heads over training. Each is computed once, when somebody asks for it; any thread may ask."""

    def __init__(self) -> None:
        self._scored: WeakKeyDictionary[Run, dict[tuple[int, str, int], list[float | None]]] = WeakKeyDictionary()

    def value(self, run: Run, number: int, score: str) -> dict[str, Any]:
        """One score of every head of a model at the kept steps, as the diagnostics draw them.

        Args:
            run: whose model.
            number: of the model in the run.
            score: a key of `MEASURES`.

        Raises:
            ValueError: no weights of the model were kept yet.
        """
        from gpt.interpret import MEASURES

        member = run.members[number]
        if not member.kept_steps:
            raise ValueError("this model has not started to learn; wait for its first point on the chart")
        config, measure = member.config, MEASURES[score]
        probe = _probe(run, config, score)
        scored = {step: self._at_step(run, number, score, step, probe) for step in member.kept_steps}
        known = {step: scores for step, scores in scored.items() if scores is not None}
        return {
            "score": score,
            "definition": measure.definition,
            "unit": measure.unit,
            "text": probe.words,
            "colour": variant_style(variant_name(config))["colour"],
            "layers": config.num_layers,
            "heads": config.num_heads,
            "steps": list(known),
            "values": list(known.values()),
        }

    def _at_step(self, run: Run, number: int, score: str, step: int, probe: _Probe) -> list[float | None] | None:
        """The score of each head, layer after layer, None for one that has none; None if the weights are gone."""
        known = self._scored.setdefault(run, {})
        key = (number, score, step)
        if key not in known:
            with COMPUTING:
                if key not in known:  # else somebody who waited before has asked for the same
                    try:
                        known[key] = _scores(run.members[number], step, score, probe.ids)
                    except ValueError:  # the best weights of a moment ago, and there are better ones
                        return None
        return known[key]


def _scores(member: Member, step: int, score: str, ids: Tensor) -> list[float | None]:
    import torch

    from gpt.interpret import attention_maps, score_heads
    from gpt.model.masks import attention_mask

    model, positions = member.model_at(step), torch.arange(len(ids))
    allowed = attention_mask(positions, positions, member.config.window_size, member.config.causal)
    scores = score_heads(attention_maps(model, ids[None])[:, 0], allowed, ids, [score])[score]
    return [round(mean, 4) if math.isfinite(mean) else None for mean in scores.means.flatten().tolist()]


def _probe(run: Run, config: GPTConfig, score: str) -> _Probe:
    """The beginning of the validation text; for the prefix match, random tokens said again within a model's window."""
    from gpt.interpret import repeated_tokens

    length = min(config.context_length, _LONGEST, len(run.corpus.validation_ids))
    if score != "prefix":
        return _Probe(run.corpus.validation_ids[:length].long(), f"the first {length} tokens of the validation text")
    period = max(1, min(length // 2, config.window_size or length))
    ids = repeated_tokens(config.vocab_size, period, length)
    return _Probe(ids, f"{length} random tokens, said again after {period}")
