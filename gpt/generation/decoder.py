"""Reading one more token in each of many texts: what generation does all the time, with nothing in the way.

The plain model (`gpt.model`) reads whole texts and is the definition. Here the same sums are written for a single new
token per text: one matrix for queries, keys and values, keys and values written in place where the next token reads
them, and no module called on the way. The tests hold the two equal.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt.generation.slots import Past, Slots
from gpt.model.attention import GroupQueryAttention, MultiHeadSelfAttention, SlidingWindowAttention
from gpt.model.config import GPTConfig
from gpt.model.gpt2 import GPT2
from gpt.model.layers import GPT2Block, GPT2LayerNorm, GPT2OutputLayer, PositionWiseFeedForward
from gpt.model.positions import RotaryPositionalEncoding

_KNOWN_MODULES = {
    *(GPT2, GPT2Block, GPT2LayerNorm, GPT2OutputLayer, PositionWiseFeedForward, RotaryPositionalEncoding),
    *(MultiHeadSelfAttention, SlidingWindowAttention, GroupQueryAttention),
    *(nn.Embedding, nn.Dropout, nn.Linear, nn.ModuleList),
}


def can_decode(model: nn.Module) -> bool:
    """Whether `Decoder` computes what this model does.

    Not if it has parts that are not this project's own, or hooks that want to see or change what passes through: such
    a model has to be called.
    """
    if not isinstance(model, GPT2) or any(_is_altered(part) for part in model.modules()):
        return False
    return all(_is_as_configured(block, model.config) for block in model.blocks)


def _is_altered(part: nn.Module) -> bool:
    return (
        type(part) not in _KNOWN_MODULES
        or bool(part._forward_hooks or part._forward_pre_hooks)
        or "forward" in part.__dict__
    )


def _is_as_configured(block: Any, config: GPTConfig) -> bool:
    attention, rotary = block.attention, block.attention.rotary
    return (
        attention.causal
        and (attention.num_heads, attention.num_kv_heads) == (config.num_heads, config.kv_heads)
        and attention.window_size == config.window_size
        and attention.alibi == (config.positions == "alibi")
        and (rotary.base if rotary else None) == (config.rope_base if config.positions == "rotary" else None)
    )


def rolls_forever(config: GPTConfig) -> bool:
    """Whether tokens before the last `context_length` cannot reach the output, nor their number matter.

    Such a model reads on past its context with the keys it has; any other then has to read the text again for each
    token, because the text's first token has gone and every key after it has changed.
    """
    reach = config.receptive_field
    return config.causal and config.positions != "learned" and reach is not None and reach <= config.context_length


def read_prompt(model: GPT2, input_ids: Tensor) -> tuple[Past, Tensor]:
    """Read whole texts (B, T) by the plain model; returns their past, and the logits (B, vocab_size) after them."""
    cache, config = model.new_cache(), model.config
    logits = model(input_ids, cache=cache)[:, -1]
    none = model.token_embedding.weight.new_empty(len(input_ids), config.kv_heads, 0, config.head_dim)
    # An extension by no tokens gives back all that a layer holds, and the positions, which are the same in all layers.
    extended = [layer.extend(none, none) for layer in cache.layers]
    held = torch.stack([part for keys, values, _ in extended for part in (keys, values)])  # (2 x layers, B, G, K, d)
    if config.window_size is not None:
        held = held[:, :, :, extended[0][2].argsort()]  # oldest first
    return Past(held.unflatten(0, (-1, 2)), input_ids.shape[1]), logits


class _Layer(NamedTuple):
    """One block's weights, as `Decoder` multiplies by them: matrices are (in, out)."""

    attention_norm: tuple[Tensor, Tensor, float]  # weight, bias, eps
    heads: Tensor  # (embed_size, (H + 2 G) x head_dim) query, key and value weights side by side
    heads_bias: Tensor
    output: Tensor
    output_bias: Tensor
    feed_forward_norm: tuple[Tensor, Tensor, float]
    expand: Tensor
    expand_bias: Tensor
    project: Tensor
    project_bias: Tensor


class _Workspace(NamedTuple):
    """Where each layer in turn lays down its work on the newest tokens, and views of it.

    They are kept because at this size, making a tensor or a view takes as long as the sum that fills it.
    """

    heads: Tensor  # (rows, (H + 2 G) x head_dim)
    turning: Tensor  # (rows, H + G, 2, head_dim / 2) of them, queries and keys in halves
    keys_and_values: Tensor  # (2, rows, G, head_dim) of them
    queries: Tensor  # (rows, G, H / G, head_dim) of them: query heads that share a key/value head stand together
    stacked_queries: Tensor  # (rows x G, H / G, head_dim); of one row they are the above, of several a copy
    mixed: Tensor  # (rows x G, H / G, head_dim)
    flat_mixed: Tensor  # (rows, embed_size), the same
    hidden: Tensor  # (rows, hidden_size)


class Decoder:
    """Reads one token more in each of its rows, all at once.

    The weights are those that the model has at the time: if it learns on meanwhile, the next token is read with what it
    has learned, as the plain model would. (What PyTorch itself does not see is not seen here: changes through
    `parameter.data`, and parameters that are exchanged for others.)

    For one thread at a time, and under `torch.inference_mode()` from the first row on.

    Attributes:
        slots: the rows; add and remove them there.

    Raises:
        ValueError: the model is one that has to be called; see `can_decode`.
    """

    def __init__(self, model: GPT2) -> None:
        if not can_decode(model):
            raise ValueError("this model has parts or hooks that Decoder does not know; call the model itself")
        config = model.config
        self.slots = Slots(config)
        self._model = model
        self._most_tokens = math.inf if rolls_forever(config) else config.context_length
        self._norm_shape = (config.embed_size,)
        self._turns = _turns(model, config.context_length) if config.positions == "rotary" else None
        self._workspace: _Workspace | None = None
        self._layers: list[_Layer] = []
        self._copied: list[Tensor] = []
        self._copied_versions: list[int] | None = None
        self._lay_out_weights()

    def is_at_its_end(self, row: int) -> bool:
        """Whether a row fills the model's context, and one more token would need the text read again."""
        return self.slots.lengths[row] >= self._most_tokens

    def read(self, ids: Tensor) -> Tensor:
        """Read the next token of each row, (rows,) ids; returns the logits for what follows, (rows, vocab_size).

        Raises:
            ValueError: there are not as many ids as rows, or a row is at its end.
        """
        lengths = self.slots.lengths
        if ids.shape != (len(lengths),) or not lengths:
            raise ValueError(
                f"ids has shape {tuple(ids.shape)}; give one for each row, of which there are {len(lengths)}"
            )
        longest = max(lengths)
        if longest >= self._most_tokens:
            raise ValueError(f"a row has read {longest} tokens, this model's context; read its last ones again")
        if self._copied_versions is None or self._copied_versions != [copied._version for copied in self._copied]:
            self._lay_out_weights()
        # Where the newest tokens stand. If all rows agree one number, which finds its place in a table sooner.
        position = longest if min(lengths) == longest else torch.tensor(lengths, device=ids.device)  # () or (rows,)
        x = self._embed(ids, position)  # (rows, embed_size)
        turn = None if self._turns is None else self._turn(position, longest)
        workspace = self._workspace_for(len(lengths))
        places, keys, values, bias = self.slots.extend()
        for layer, *seen in zip(self._layers, places, keys, values, strict=True):
            self._attend(layer, x, turn, workspace, bias, *seen)
            self._feed_forward(layer, x, workspace)
        weight, shift, eps = self._final_norm
        return F.linear(torch.layer_norm(x, self._norm_shape, weight, shift, eps), self._output_weight)

    def _embed(self, ids: Tensor, position: int | Tensor) -> Tensor:
        """What the first block reads: (rows,) -> (rows, embed_size)."""
        x = torch.embedding(self._token_embedding, ids)
        return x if self._position_embedding is None else x.add_(self._position_embedding[position])

    def _attend(
        self,
        layer: _Layer,
        x: Tensor,
        turn: tuple[Tensor, Tensor] | None,
        workspace: _Workspace,
        bias: Tensor | None,
        place: Tensor,
        keys: Tensor,
        values: Tensor,
    ) -> None:
        """Add to x (rows, embed_size) what attention adds, softmax(q k^T + bias) v; `keys` and `values` see `place`."""
        weight, shift, eps = layer.attention_norm
        normal = torch.layer_norm(x, self._norm_shape, weight, shift, eps)
        torch.addmm(layer.heads_bias, normal, layer.heads, out=workspace.heads)
        if turn is not None:
            cosine, signed_sine = turn
            swapped = workspace.turning.flip(2)  # (first, second) -> (first cos - second sin, second cos + first sin)
            workspace.turning.mul_(cosine).addcmul_(swapped, signed_sine)
        place.copy_(workspace.keys_and_values)
        if x.shape[0] > 1:
            workspace.stacked_queries.view(workspace.queries.shape).copy_(workspace.queries)
        queries = workspace.stacked_queries
        scores = torch.bmm(queries, keys) if bias is None else torch.baddbmm(bias, queries, keys)  # (rows G, H / G, K)
        torch.bmm(scores.softmax(-1), values, out=workspace.mixed)
        x.add_(layer.output_bias).addmm_(workspace.flat_mixed, layer.output)

    def _feed_forward(self, layer: _Layer, x: Tensor, workspace: _Workspace) -> None:
        """Add to x (rows, embed_size) what the feed-forward layer adds."""
        weight, shift, eps = layer.feed_forward_norm
        normal = torch.layer_norm(x, self._norm_shape, weight, shift, eps)
        torch.addmm(layer.expand_bias, normal, layer.expand, out=workspace.hidden)
        x.add_(layer.project_bias).addmm_(F.gelu(workspace.hidden, approximate="tanh"), layer.project)

    def _turn(self, position: int | Tensor, longest: int) -> tuple[Tensor, Tensor]:
        """Cosine and signed sine of the newest tokens' angles, to broadcast over (rows, heads, 2, head_dim / 2)."""
        if self._turns is None or longest >= len(self._turns[0]):
            self._turns = _turns(self._model, 2 * longest)
        cosine, signed_sine = self._turns
        return cosine[position], signed_sine[position]

    def _workspace_for(self, rows: int) -> _Workspace:
        """The workspace of the last token, or a new one if there are more or fewer rows now."""
        if self._workspace is None or self._workspace.heads.shape[0] != rows:
            self._workspace = _make_workspace(self._model.config, rows, like=self._token_embedding)
        return self._workspace

    def _lay_out_weights(self) -> None:
        """Query, key and value weights are copied into one matrix; all others are the model's own."""
        model, self._layers, self._copied = self._model, [], []
        positions = model.position_embedding
        self._token_embedding = model.token_embedding.weight
        self._position_embedding = None if positions is None else positions.weight
        self._final_norm, self._output_weight = _norm(model.final_norm), model.output_layer.weight
        for block in model.blocks:
            layer, copied = _lay_out(block)
            self._layers.append(layer)
            self._copied += copied
        # Parameters made in inference mode have no version: their copies serve for one token.
        has_versions = not any(copied.is_inference() for copied in self._copied)
        self._copied_versions = [copied._version for copied in self._copied] if has_versions else None


def _norm(norm: GPT2LayerNorm) -> tuple[Tensor, Tensor, float]:
    return norm.weight, norm.bias, norm.eps


@torch.no_grad()
def _lay_out(block: Any) -> tuple[_Layer, list[Tensor]]:
    """A block's weights, the queries' divided by sqrt(head_dim) as the scores are; and those of which it has copies."""
    attention, feed_forward, scale = block.attention, block.feed_forward, 1 / math.sqrt(block.attention.head_dim)
    parts = (attention.query, attention.key, attention.value)
    (query, key, value), (query_bias, key_bias, value_bias) = zip(
        *((part.weight, part.bias) for part in parts), strict=True
    )
    layer = _Layer(
        attention_norm=_norm(block.attention_norm),
        heads=torch.cat((query * scale, key, value)).t(),
        heads_bias=torch.cat((query_bias * scale, key_bias, value_bias)),
        output=attention.output.weight.t(),
        output_bias=attention.output.bias,
        feed_forward_norm=_norm(block.feed_forward_norm),
        expand=feed_forward.expand.weight.t(),
        expand_bias=feed_forward.expand.bias,
        project=feed_forward.project.weight.t(),
        project_bias=feed_forward.project.bias,
    )
    return layer, [query, key, value, query_bias, key_bias, value_bias]


def _make_workspace(config: GPTConfig, rows: int, like: Tensor) -> _Workspace:
    query_heads, kv_heads, head_dim = config.num_heads, config.kv_heads, config.head_dim
    heads = like.new_empty(rows, query_heads + 2 * kv_heads, head_dim)
    queries = heads[:, :query_heads].unflatten(1, (kv_heads, -1))  # (rows, G, H / G, head_dim)
    stacked_queries = queries.flatten(0, 1)
    mixed = torch.empty_like(stacked_queries)
    return _Workspace(
        heads=heads.flatten(1),
        turning=heads[:, : query_heads + kv_heads].view(rows, -1, 2, head_dim // 2) if head_dim % 2 == 0 else heads,
        keys_and_values=heads[:, query_heads:].unflatten(1, (2, kv_heads)).transpose(0, 1),
        queries=queries,
        stacked_queries=stacked_queries,
        mixed=mixed,
        flat_mixed=mixed.view(rows, -1),
        hidden=like.new_empty(rows, config.hidden_size),
    )


def _turns(model: GPT2, length: int) -> tuple[Tensor, Tensor]:
    """Of positions 0..length-1 the cosine (length, 1, 1, d / 2) and the sine, minus and plus, (length, 1, 2, d / 2)."""
    config = model.config
    rotary = RotaryPositionalEncoding(config.head_dim, config.rope_base)
    cosine, sine = rotary.angles(torch.arange(length, device=model.device))
    return cosine[:, None, None], torch.stack((-sine, sine), dim=1)[:, None]
