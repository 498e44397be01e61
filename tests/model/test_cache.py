"""The cache: what it gives back, what it holds, and that reading with it equals reading again."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from gpt import KVCache, attention_mask
from gpt.model.cache import GrowingCache, RollingCache

LENGTH = 40  # more than six windows of 6, within the 48 learned positions


def read_in_chunks(model, input_ids, sizes):
    """Logits (B, T, vocab) of a text read through a cache in chunks of these sizes."""
    cache = model.new_cache()
    with torch.no_grad():
        logits = [model(chunk, cache=cache) for chunk in input_ids.split(sizes, dim=1)]
    assert cache.length == input_ids.shape[1]
    return torch.cat(logits, dim=1)


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([1] * LENGTH, id="token by token"),
        pytest.param([LENGTH], id="at once"),
        pytest.param([7, 1, 13, 2, 1, 1, 10, 5], id="uneven chunks"),
        pytest.param([20] + [1] * 20, id="prompt then tokens"),
        pytest.param([1, 39], id="token then the rest"),
    ],
)
def test_cached_equals_uncached_past_three_windows(kind, small_model, ids, sizes):
    model, input_ids = small_model(kind), ids(2, LENGTH)
    with torch.no_grad():
        expected = model(input_ids)
    assert_close(read_in_chunks(model, input_ids, sizes), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("window_size", [1, 2, 39, 40, 41])
def test_cached_equals_uncached_for_windows_of_every_size(small_model, ids, window_size):
    model, input_ids = small_model("modern", window_size=window_size), ids(1, LENGTH)
    with torch.no_grad():
        expected = model(input_ids)
    for sizes in ([1] * LENGTH, [5, 3, 20, 12]):
        assert_close(read_in_chunks(model, input_ids, sizes), expected, atol=1e-4, rtol=1e-4)


def test_a_window_larger_than_any_memory_costs_no_more_than_the_text(small_model, ids):
    """W >= T equals full, so a cache may not reserve all W slots at once."""
    model, full, prompt = small_model("modern", window_size=10**15), small_model("modern", window_size=None), ids(1, 5)
    assert torch.equal(model.generate(prompt, temperature=0), full.generate(prompt, temperature=0))


def test_two_generations_of_one_model_do_not_meet(small_model, ids):
    model, first, second = small_model("modern"), ids(1, 20), ids(1, 20)
    first_cache, second_cache = model.new_cache(), model.new_cache()
    with torch.no_grad():
        together = [
            (model(a, cache=first_cache), model(b, cache=second_cache))
            for a, b in zip(first.split(1, 1), second.split(1, 1), strict=True)
        ]
        assert_close(torch.cat([a for a, _ in together], 1), model(first), atol=1e-4, rtol=1e-4)
        assert_close(torch.cat([b for _, b in together], 1), model(second), atol=1e-4, rtol=1e-4)


def some(length, start=0):
    """Keys (1, 2, T, 3) that carry their position in every number, and values that carry its negative."""
    keys = torch.arange(start, start + length, dtype=torch.float32)[None, None, :, None].expand(1, 2, length, 3)
    return keys, -keys


@pytest.mark.parametrize("make", [GrowingCache, lambda: RollingCache(4), lambda: RollingCache(1)])
def test_a_layer_gives_back_keys_with_their_own_positions(make):
    cache, start = make(), 0
    for length in (3, 1, 1, 6, 1, 2, 9, 1):
        keys, values, positions = cache.extend(*some(length, start))
        start += length
        assert cache.length == start
        assert keys.shape == values.shape == (1, 2, len(positions), 3)
        assert torch.equal(keys[0, 1, :, 2], positions.float())
        assert torch.equal(values, -keys)


def test_a_rolling_layer_gives_every_key_that_a_query_of_the_chunk_may_see():
    cache, start = RollingCache(4), 0
    for length in (2, 1, 1, 1, 7, 1, 3):
        _, _, positions = cache.extend(*some(length, start))
        queries = torch.arange(start, start + length)
        start += length
        seen = attention_mask(queries, positions, 4).sum(dim=1)
        assert seen.tolist() == [min(int(query) + 1, 4) for query in queries]
        assert len(set(positions.tolist())) == len(positions)


def test_a_rolling_layer_lies_as_its_docstring_draws_it():
    cache = RollingCache(4)
    for position in range(7):
        _, _, positions = cache.extend(*some(1, position))
    assert positions.tolist() == [4, 5, 6, 3]


def test_bytes_held():
    growing, rolling = GrowingCache(), RollingCache(4)
    assert growing.nbytes == rolling.nbytes == 0
    for position in range(9):
        growing.extend(*some(1, position))
        rolling.extend(*some(1, position))
        per_token = 2 * 2 * 3 * 4  # keys and values, heads, width, bytes
        assert growing.nbytes == (position + 1) * per_token
        assert rolling.nbytes == min(position + 1, 4) * per_token


def test_the_numbers_of_the_docstring():
    keys = torch.zeros(1, 2, 64, 32)
    for window_size, expected in ((None, 128 * 1024), (8, 16 * 1024)):
        cache = KVCache(4, window_size)
        for layer in cache.layers:
            layer.extend(keys, keys)
        assert cache.nbytes == expected


def test_only_key_value_heads_are_stored(small_model, ids):
    full, shared = small_model("gpt2"), small_model("gpt2", num_kv_heads=1)
    caches = [model.new_cache() for model in (full, shared)]
    with torch.no_grad():
        full(ids(1, 9), cache=caches[0])
        shared(ids(1, 9), cache=caches[1])
    assert caches[0].nbytes == 4 * caches[1].nbytes


def test_a_model_without_a_causal_mask_refuses_a_cache(small_model, ids):
    model = small_model("rotary", causal=False)
    with pytest.raises(ValueError, match="causal=False reads its text again"):
        model(ids(1, 3), cache=model.new_cache())


def test_learned_positions_end_with_the_cache_too(small_model, ids):
    model = small_model("gpt2")
    cache = model.new_cache()
    model(ids(1, 48), cache=cache)
    with pytest.raises(ValueError, match="the text has 49 tokens and this model has learned 48 positions"):
        model(ids(1, 1), cache=cache)
