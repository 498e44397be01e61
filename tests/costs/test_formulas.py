"""Formulas against counting."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gpt import GPT2, attention_mask, stream_tokens
from gpt.costs.formulas import (
    cache_bytes,
    flops_by_part,
    flops_per_token,
    keys_per_query,
    parameter_count,
    parameters_by_part,
    training_bytes,
)


@pytest.mark.parametrize("changes", [{}, {"num_layers": 1, "hidden_size": 7}, {"causal": False, "num_kv_heads": 2}])
def test_parameters_are_those_of_a_real_model(kind, small_config, changes):
    config = small_config(kind, **changes)
    model = GPT2.from_config(config)
    parts = parameters_by_part(config)
    assert sum(parts.values()) == parameter_count(config) == sum(p.numel() for p in model.parameters())
    counted = dict.fromkeys(parts, 0)
    for name, parameter in model.named_parameters():
        (part,) = (
            part
            for part, mark in {
                "token embedding": "token_embedding",
                "position embedding": "position_embedding",
                "normalisation": "norm.",
                "attention": "attention.",
                "feed-forward": "feed_forward.",
            }.items()
            if mark in name
        )
        counted[part] += parameter.numel()
    assert counted == parts


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("length", [2, 5, 30])
def test_cache_bytes_are_those_of_a_real_generation(kind, small_model, ids, batch, length):
    model = small_model(kind)
    stream = stream_tokens(model, ids(batch, 2), max_new_tokens=length - 1, seed=0)
    list(stream)  # the last token is never read
    assert stream.cache_bytes == cache_bytes(model.config, length, batch=batch)
    assert cache_bytes(model.config, length, batch=batch, bytes_per_number=2) == stream.cache_bytes // 2


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window_size", [None, 1, 2, 7, 48, 100])
@pytest.mark.parametrize("length", [1, 2, 13, 48])
def test_keys_per_query_is_the_mean_row_of_the_mask(small_config, length, window_size, causal):
    positions = torch.arange(length)
    rows = attention_mask(positions, positions, window_size, causal).sum(dim=1).double()
    config = small_config("gpt2", window_size=window_size, causal=causal)
    assert keys_per_query(config, length) == pytest.approx(rows.mean().item())


@torch.no_grad()
def test_arithmetic_of_linear_layers_is_what_torch_counts(kind, small_config, ids):
    model = GPT2.from_config(small_config(kind))
    with FlopCounterMode(display=False) as counter:
        model(ids(2, 24))
    counts = {str(operation): count for operation, count in counter.get_flop_counts()["Global"].items()}
    counted = counts.get("aten.addmm", 0) + counts.get("aten.mm", 0)
    config = model.config
    attention = config.num_layers * 4 * config.embed_size * keys_per_query(config, 24)
    assert flops_per_token(config, 24) - attention == pytest.approx(counted / 48)
    assert flops_per_token(config) == flops_per_token(config, config.context_length)


@pytest.mark.parametrize("length", [None, 1, 7, 24])
def test_parts_of_the_arithmetic_sum_to_all_of_it(kind, small_config, length):
    config = small_config(kind)
    assert sum(flops_by_part(config, length).values()) == pytest.approx(flops_per_token(config, length))


@torch.no_grad()
def test_each_part_of_the_arithmetic_is_what_torch_counts_in_it(kind, small_config, ids):
    model = GPT2.from_config(small_config(kind))
    with FlopCounterMode(display=False, depth=5) as counter:
        model(ids(2, 24))
    counted = {"attention projections": 0.0, "feed-forward": 0.0, "output layer": 0.0}
    for module, counts in counter.get_flop_counts().items():
        linear = sum(count for operation, count in counts.items() if str(operation) in ("aten.addmm", "aten.mm")) / 48
        if module.endswith(".attention"):
            counted["attention projections"] += linear
        elif module.endswith(".feed_forward"):
            counted["feed-forward"] += linear
        elif module == "Global":
            counted["output layer"] += linear
    counted["output layer"] -= counted["attention projections"] + counted["feed-forward"]
    parts = flops_by_part(model.config, 24)
    seen = parts.pop("attention scores and values")
    assert parts == pytest.approx(counted)
    assert seen == pytest.approx(
        model.config.num_layers * 4 * model.config.embed_size * keys_per_query(model.config, 24)
    )


# --- Memory of training ---------------------------------------------------------------------------------------------


def bytes_kept_for_backward(config, rows, *, in_bfloat16):
    """What autograd keeps of a forward pass, weights apart, each stretch of memory once."""
    model = GPT2.from_config(config)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no other takes its place
        return tensor

    ids = torch.zeros(rows, config.context_length, dtype=torch.long)
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16):
        _, loss = model(ids, ids)
    assert loss.requires_grad
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in weights)


@pytest.mark.parametrize("in_bfloat16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("changes", [{}, {"hidden_size": 96}, {"num_layers": 2}], ids=str)
def test_memory_of_training_holds_what_autograd_keeps_and_not_much_more(kind, small_config, changes, in_bfloat16):
    """The rest is in flight at the peak only; tests/reliability/memory.py measures that in whole processes."""
    size = {"embed_size": 96, "num_heads": 6, "num_layers": 6, "context_length": 256, "vocab_size": 65}
    config = small_config(kind, **(size | changes))
    rows = 4
    kept = bytes_kept_for_backward(config, rows, in_bfloat16=in_bfloat16)
    reckoned = training_bytes(config, rows * config.context_length, in_bfloat16=in_bfloat16)
    assert 0.4 * reckoned < kept < reckoned
