"""What a look into a model shows, as the components of the Attention tab draw it."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gpt.costs.formulas import flops_per_token
from gpt.figures.words import with_error
from gpt.generation.sampling import next_token_probabilities
from gpt.generation.stream import stream_tokens
from gpt.interpret import (
    MEASURES,
    Ablation,
    ablated,
    attention_maps,
    difference_and_error,
    head_in_numbers,
    influence,
    kv_reactions,
    next_token_losses,
    receptive_field,
    score_heads,
)
from gpt.model.config import GPTConfig
from gpt.model.gpt2 import GPT2, evaluation_mode
from gpt.model.masks import attention_mask
from gpt.runs.limits import LONGEST_LOOK
from gpt.ui.catalogue import ReadyModel
from gpt.ui.components.ablation import ablation_value
from gpt.ui.components.attention_map import attention_map_value, pack_attention
from gpt.ui.components.head_numbers import head_numbers_value
from gpt.ui.components.head_table import head_table_value
from gpt.ui.components.outcomes import outcomes_value
from gpt.ui.components.receptive_field import receptive_field_value
from gpt.ui.requests import sentence
from gpt.ui.theme import variant_style

_MOST_CELLS = 36 * LONGEST_LOOK**2  # of all maps of a model together; more would be heavy to send
_MOST_FLOPS = 5e11  # that ablating every head in turn may take: some seconds on one core
_MOST_BARS = 8
_MOST_DIMENSIONS = 64  # numbers in a head that are shown one by one


@dataclass
class Look:
    """One look into one or two models, over one text.

    Attributes:
        models: one or two.
        text, ids, tokens: what they read: as text, as token ids (T,), and as the text of each token.
        ablations: what ablating costs in the first model, as far as it was measured, layer by layer.
        heads, kv_heads: (layer, head) of those that are ablated in the first model now.
        page: whose look it is.
        is_past: whether the same page has looked at something else since.
    """

    models: list[ReadyModel]
    text: str
    ids: Tensor
    tokens: list[str]
    ablations: list[Ablation] = field(default_factory=list)
    heads: list[tuple[int, int]] = field(default_factory=list)
    kv_heads: list[tuple[int, int]] = field(default_factory=list)
    page: str = ""
    is_past: bool = False

    @property
    def first(self) -> ReadyModel:
        """The model that the panels below the map are about."""
        return self.models[0]

    @property
    def config(self) -> GPTConfig:
        """Of the first model."""
        return self.first.model.config


def take_look(models: list[ReadyModel], text: str) -> Look:
    """A look into these models over a text.

    Raises:
        ValueError: the text is empty, too long, has characters that a model does not know, or is cut into different
            tokens by the two.
    """
    if not text:
        raise ValueError("the text is empty; give at least one character to look at")
    cut = []
    for ready in models:
        ids = ready.tokenizer.encode(text)
        most = most_tokens(ready.model.config)
        if len(ids) > most:
            kind = "characters" if len(ids) == len(text) else "tokens"
            raise ValueError(f"the text has {len(ids):,} {kind}; {ready.label} looks at {most} at most")
        cut.append((ids, list(ready.tokenizer.decode_stream(ids))))
    if any(tokens != cut[0][1] for _, tokens in cut):
        raise ValueError("these two models cut the text into different tokens; choose two with the same vocabulary")
    return Look(models, text, torch.tensor(cut[0][0]), cut[0][1])


def most_tokens(config: GPTConfig) -> int:
    """The longest text that can be looked at in a model, in tokens."""
    return min(config.context_length, LONGEST_LOOK, math.isqrt(_MOST_CELLS // (config.num_layers * config.num_heads)))


def map_view(look: Look) -> dict[str, Any]:
    """Every head's attention, for `attention_map`."""
    packs = []
    for ready in look.models:
        config = ready.model.config
        packs.append(
            pack_attention(
                attention_maps(ready.model, ready_ids(ready, look)[None])[:, 0],
                _allowed(config, len(look.tokens)),
                look.tokens,
                num_kv_heads=config.kv_heads,
                window_size=config.window_size,
                causal=config.causal,
                label=ready.label,
                colour=variant_style(ready.variant)["colour"],
            )
        )
    return attention_map_value(packs)


def ready_ids(ready: ReadyModel, look: Look) -> Tensor:
    """The look's text in a model's own ids (T,); two vocabularies may number the same tokens differently."""
    return look.ids if ready is look.first else torch.tensor(ready.tokenizer.encode(look.text))


def _allowed(config: GPTConfig, length: int) -> Tensor:
    positions = torch.arange(length)
    return attention_mask(positions, positions, config.window_size, config.causal)


def heads_view(look: Look) -> str:
    """The numbers of every head, for `head_table`; as JSON in one piece, which Gradio's page does not walk through."""
    config, ready = look.config, look.first
    weights = attention_maps(ready.model, look.ids[None])[:, 0]
    scores = score_heads(weights, _allowed(config, len(look.tokens)), look.ids)
    shared = config.num_heads // config.kv_heads
    rows = [
        {
            "layer": layer,
            "head": head,
            "kv": head // shared if shared > 1 else None,
            "values": {key: score.means[layer, head].item() for key, score in scores.items()},
            "errors": {key: score.errors[layer, head].item() for key, score in scores.items()},
            "even": {key: score.even for key, score in scores.items()},
        }
        for layer in range(config.num_layers)
        for head in range(config.num_heads)
    ]
    columns = [
        {"key": key, "name": measure.name, "definition": measure.definition, "unit": measure.unit}
        for key, measure in MEASURES.items()
    ]
    note = (
        "Means over the queries of this text, ± their standard error. The tick shows what a head would score if it "
        "spread its attention evenly over all the keys it may read."
    )
    return head_table_value(ready.label, variant_style(ready.variant)["colour"], columns, rows, note)


def ablation_view(look: Look) -> str:
    """What ablating costs, for `ablation`: the layers measured so far, and what is ablated now."""
    config, ready = look.config, look.first
    is_shared = config.kv_heads < config.num_heads
    whole = next_token_losses(ready.model, look.ids)

    def layers(name: str, heads: int) -> list[list[float]]:
        measured = [getattr(layer, name).tolist() for layer in look.ablations]
        return [*measured, *([[math.nan] * heads] * (config.num_layers - len(measured)))]

    return ablation_value(
        label=ready.label,
        colour=variant_style(ready.variant)["colour"],
        loss=whole.double().mean().item(),
        tokens=len(whole),
        costs=layers("costs", config.num_heads),
        errors=layers("errors", config.num_heads),
        kv_costs=layers("kv_costs", config.kv_heads) if is_shared else [],
        kv_errors=layers("kv_errors", config.kv_heads) if is_shared else [],
        kv_reactions=kv_reactions(ready.model, look.ids).tolist() if is_shared else [],
        ablated=look.heads,
        ablated_kv=look.kv_heads,
        now=_change(next_token_losses(_ablated(look), look.ids), whole) if look.heads or look.kv_heads else None,
    )


def can_ablate_all(config: GPTConfig, length: int) -> bool:
    """Whether ablating every head in turn is little enough work to do at once."""
    rows = config.num_heads + (config.kv_heads if config.kv_heads < config.num_heads else 0)
    return rows * (config.num_layers + 1) / 2 * flops_per_token(config, length) * length < _MOST_FLOPS


def _ablated(look: Look) -> GPT2:
    return ablated(look.first.model, look.heads, look.kv_heads)


def _change(losses: Tensor, reference: Tensor) -> dict[str, float]:
    change, error = difference_and_error(losses, reference)
    return {"loss": losses.double().mean().item(), "change": change.item(), "error": error.item()}


def field_view(look: Look, position: int) -> str:
    """What can reach the output at a position, and what does, for `receptive_field`."""
    config, ready = look.config, look.first
    length = len(look.tokens)
    reaches = receptive_field(config, length, position)
    with evaluation_mode(ready.model):
        target = int(ready.model(look.ids[None].to(ready.model.device))[0, position].argmax())
    lengths = influence(ready.model, look.ids, position, target)
    return receptive_field_value(
        label=ready.label,
        colour=variant_style(ready.variant)["colour"],
        tokens=look.tokens,
        query=position,
        cone=[(int(row.nonzero().min()), int(row.nonzero().max())) for row in reaches],
        influence=lengths.tolist(),
        target=ready.tokenizer.decode([target]),
        formula=_reach_in_numbers(config),
        reach=config.receptive_field,
        outside=lengths.masked_fill(reaches, 0).max().item(),
        note="What is traced is the logit of the character that the model expects most at that place.",
    )


def unasked_numbers(look: Look) -> dict[str, str]:
    """That there is a head to show in numbers, or why there is none, for `head_numbers`."""
    try:
        _check_dimensions(look.config)
    except ValueError as error:
        return {"empty": sentence(error)}
    return {"edition": secrets.token_hex(4)}


def numbers_view(look: Look, layer: int, head: int, position: int) -> str:
    """One query of one head in numbers, for `head_numbers`."""
    config, ready = look.config, look.first
    _check_dimensions(config)
    return head_numbers_value(
        head_in_numbers(ready.model, look.ids, layer, head, position),
        label=ready.label,
        colour=variant_style(ready.variant)["colour"],
        tokens=look.tokens,
        layer=layer,
        head=head,
        position=position,
        shares_keys=config.kv_heads < config.num_heads,
        causal=config.causal,
    )


def _check_dimensions(config: GPTConfig) -> None:
    if config.head_dim > _MOST_DIMENSIONS:
        raise ValueError(
            f"the heads of this model have {config.head_dim} numbers each; those of at most {_MOST_DIMENSIONS} are "
            "shown one by one, so look at another model"
        )


def _reach_in_numbers(config: GPTConfig) -> str:
    """k(W - 1) + 1 with the numbers put in; empty without a window."""
    if config.window_size is None:
        return ""
    sides = "" if config.causal else "2 × "
    return f"{sides}{config.num_layers} × ({config.window_size} − 1) + 1 = {config.receptive_field}"


def outcomes_view(look: Look) -> dict[str, Any]:
    """What is expected and written after the text, for `outcomes`: by each model, and with heads ablated."""
    first = look.first
    states = [_State(first.label, first, first.model)]
    if look.heads or look.kv_heads:
        count = len(look.heads) + len(look.kv_heads)
        label = f"{first.label}, {count} head{'s' if count > 1 else ''} ablated"
        states.append(_State(label, first, _ablated(look), dash="10 3 2 3"))
    states += [_State(ready.label, ready, ready.model) for ready in look.models[1:]]
    expected = states[0].expects(look)
    best = expected.topk(min(_MOST_BARS, len(expected))).indices.tolist()
    likeliest = [first.tokenizer.decode([index]) for index in best]
    views = [_state_view(state, states[0], look, likeliest) for state in states]
    return outcomes_value("What it expects and writes after this text", likeliest, views, look.text[-24:])


@dataclass(frozen=True)
class _State:
    """A model as it is compared in `outcomes`; `model` is the ready one's, or has some of its heads ablated."""

    label: str
    ready: ReadyModel
    model: GPT2
    dash: str = ""

    def expects(self, look: Look) -> Tensor:
        """Probabilities of what comes after the text: (vocab_size,)."""
        ids = ready_ids(self.ready, look)
        with evaluation_mode(self.model):
            return next_token_probabilities(self.model(ids[None].to(self.model.device))[:, -1])[0]

    def losses(self, look: Look) -> Tensor:
        """Of each token of the text but the first: (T - 1,)."""
        return next_token_losses(self.model, ready_ids(self.ready, look))

    def writes(self, look: Look) -> str:
        """What it writes after the text."""
        prompt = ready_ids(self.ready, look)[None]
        stream = stream_tokens(self.model, prompt, max_new_tokens=80, temperature=0.8, seed=1337)
        return "".join(self.ready.tokenizer.decode_stream(int(chosen) for chosen in stream))


def _state_view(state: _State, reference: _State, look: Look, likeliest: Sequence[str]) -> dict[str, Any]:
    """One state as `outcomes` takes it, its loss compared with the reference's."""
    style = variant_style(state.ready.variant)
    probabilities = state.expects(look)
    loss = change = ""
    if len(look.ids) > 1:
        losses = state.losses(look)
        loss = _in_words(losses, torch.zeros_like(losses))
        if state is not reference:
            change = _in_words(losses, reference.losses(look), sign="+")
    return {
        "label": state.label,
        "note": state.ready.note,
        "colour": style["colour"],
        "dash": state.dash or style["dash"],
        "loss": loss,
        "change": change,
        "probabilities": [_probability(state.ready, probabilities, token) for token in likeliest],
        "text": state.writes(look),
    }


def _in_words(losses: Tensor, others: Tensor, sign: str = "") -> str:
    mean, error = difference_and_error(losses, others)
    return with_error(float(mean), float(error), sign)


def _probability(ready: ReadyModel, probabilities: Tensor, token: str) -> float:
    """Of one token by its text; 0 if this model does not know it."""
    return 0.0 if ready.tokenizer.unknown_characters(token) else probabilities[ready.tokenizer.encode(token)[0]].item()
