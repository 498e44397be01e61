"""Many readers of one model: each gets what it would get alone, whoever else comes, goes, waits or fails."""

from __future__ import annotations

import gc
import threading

import pytest
import torch

from gpt import stream_tokens
from gpt.generation import engine
from gpt.generation.decoder import Decoder
from gpt.generation.engine import TURN, Batcher

CHOICES = [
    {"temperature": 0},
    {"temperature": 1.5},
    {"temperature": 0.8, "top_k": 4},
    {"temperature": 1.1, "top_p": 0.7},
    {"temperature": 2.0, "top_k": 9, "top_p": 0.9},
]


def alone(model, prompt, **choices):
    return [int(token) for token in stream_tokens(model, prompt, **choices)]


def orders(ids, count, tokens):
    """Different prompts, lengths, choices and seeds."""
    return [
        (ids(1, 1 + 5 * number % 14), {"max_new_tokens": tokens + number % 7, "seed": number, **CHOICES[number % 5]})
        for number in range(count)
    ]


def test_each_gets_what_it_gets_alone(kind, small_model, ids):
    """One thread that takes a token from each in turn; with a context of 16 most have to be read anew at the end."""
    model = small_model(kind, context_length=16)
    wanted = orders(ids, 7, 20)
    batcher = Batcher(model)
    streams = [batcher.stream(prompt, **choices) for prompt, choices in wanted]
    given = [[] for _ in streams]
    while any(stream.tokens_left for stream in streams):
        for stream, tokens in zip(streams, given, strict=True):
            tokens.extend(token for token in [next(stream, None)] if token is not None)
    assert given == [alone(model, prompt, **choices) for prompt, choices in wanted]
    assert batcher._decoding._rows._decoder is None  # and nothing is kept


def test_all_is_computed_inside_the_limiter(small_model, ids, monkeypatch):
    """Prompts, tokens side by side, and texts that are read anew."""

    class Noting:
        is_inside, entered = False, 0

        def __enter__(self):
            assert not self.is_inside, "entered again from inside"
            self.is_inside, self.entered = True, self.entered + 1

        def __exit__(self, *_):
            self.is_inside = False

    limiter, calls = Noting(), set()
    model = small_model("gpt2", context_length=16)

    def note(owner, name):
        original = getattr(owner, name)

        def noting(*arguments, **options):
            assert limiter.is_inside, name
            calls.add(name)
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, noting)

    prompt = ids(1, 10)
    expected = alone(model, prompt, max_new_tokens=20, seed=1)
    for owner, name in (
        (engine, "read_prompt"),
        (Decoder, "read"),
        (engine._Rereading, "_logits"),
    ):
        note(owner, name)
    assert list(Batcher(model, limiter=limiter).stream(prompt, max_new_tokens=20, seed=1)) == expected
    assert calls == {"read_prompt", "read", "_logits"}
    assert limiter.entered >= 20


@pytest.mark.parametrize("kind_of_some", ["gpt2", "modern", "alibi"])
def test_joining_and_leaving_in_the_middle(small_model, ids, kind_of_some):
    model = small_model(kind_of_some)
    wanted = orders(ids, 9, 25)
    batcher, given, streams = Batcher(model), {}, {}
    for moment in range(60):
        if moment % 3 == 0 and moment // 3 < len(wanted):
            prompt, choices = wanted[moment // 3]
            streams[moment // 3] = batcher.stream(prompt, **choices)
        if moment == 20:
            streams.pop(2).close()
            del streams[4]  # dropped without a word
        for number, stream in streams.items():
            token = next(stream, None)
            given.setdefault(number, []).extend([] if token is None else [token])
    for number, (prompt, choices) in enumerate(wanted):
        expected = alone(model, prompt, **choices)
        assert given[number] == (expected[: len(given[number])] if number in (2, 4) else expected)


@pytest.mark.parametrize("most_rows", [2, 32])
def test_thirty_threads_at_once(small_model, ids, most_rows):
    model = small_model("modern", context_length=24)
    wanted = orders(ids, 30, 40)
    expected = [alone(model, prompt, **choices) for prompt, choices in wanted]
    batcher, given = Batcher(model, most_rows), [None] * 30
    barrier = threading.Barrier(30)

    def read(number):
        prompt, choices = wanted[number]
        barrier.wait()
        given[number] = list(batcher.stream(prompt, **choices))

    threads = [threading.Thread(target=read, args=(number,), daemon=True) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert given == expected


def test_without_a_causal_mask_and_with_hooks_every_text_is_read_anew(small_model, ids):
    hooked = small_model("gpt2")
    hooked.blocks[0].register_forward_hook(lambda part, given, made: 1.1 * made)
    for model in (small_model("rotary", causal=False, context_length=12), hooked):
        wanted = orders(ids, 4, 15)
        batcher = Batcher(model)
        streams = [batcher.stream(prompt, **choices) for prompt, choices in wanted]
        given = [list(stream) for stream in streams]
        assert given == [alone(model, prompt, **choices) for prompt, choices in wanted]
        assert {stream.cache_bytes for stream in streams} == {0}


def test_a_stream_tells_what_a_token_stream_tells(kind, small_model, ids):
    model, prompt = small_model(kind, context_length=16), ids(1, 6)
    other = Batcher(model).stream(ids(1, 3), max_new_tokens=30)
    batched = Batcher(model).stream(prompt, max_new_tokens=20, seed=1)
    single = stream_tokens(model, prompt, max_new_tokens=20, seed=1)
    next(other)
    assert (batched.tokens_left, batched.cache_bytes) == (single.tokens_left, single.cache_bytes) == (20, 0)
    for _ in range(20):
        assert next(batched) == int(next(single))
        assert (batched.tokens_left, batched.cache_bytes) == (single.tokens_left, single.cache_bytes)
    assert next(batched, None) is None


# --- Readers that wait, leave or fail -------------------------------------------------------------------------------


def test_a_slow_reader_holds_up_nobody_and_is_not_far_ahead(small_model, ids):
    model = small_model("none-window")
    batcher = Batcher(model, most_rows=1)
    slow = batcher.stream(ids(1, 4), max_new_tokens=500, seed=1)
    first = [next(slow), next(slow)]  # it has the only row
    prompt = ids(1, 7)
    assert list(batcher.stream(prompt, max_new_tokens=300, seed=2)) == alone(model, prompt, max_new_tokens=300, seed=2)
    assert len(slow._text.chosen) <= TURN
    assert len(first + list(slow)) == 500


def test_readers_beyond_the_rows_take_turns(small_model, ids):
    """None gets all its tokens before another gets its first."""
    batcher = Batcher(small_model("none-window"), most_rows=2)
    streams = [batcher.stream(ids(1, 2), max_new_tokens=10 * TURN, seed=seed) for seed in range(5)]
    for stream in streams:
        next(stream)
        next(stream)
    assert all(stream._text.left >= 5 * TURN for stream in streams)


def test_a_closed_or_dropped_stream_leaves_its_row(small_model, ids):
    batcher = Batcher(small_model("gpt2"))
    streams = [batcher.stream(ids(1, 3), max_new_tokens=30, seed=seed) for seed in range(3)]
    for _ in range(2):
        for stream in streams:
            next(stream)
    decoder = batcher._decoding._rows._decoder
    assert len(decoder.slots.lengths) == 3
    streams[0].close()
    assert next(streams[0], None) is None
    assert len(decoder.slots.lengths) == 2
    stream = None
    streams.pop()
    gc.collect()
    assert len(decoder.slots.lengths) == 1
    assert len(list(streams[1])) == 28
    assert decoder.slots.lengths == []


def test_what_is_wrong_with_one_stream_is_told_to_it_alone(small_model, ids, monkeypatch):
    model = small_model("gpt2")
    batcher, prompt = Batcher(model), ids(1, 3)
    good = batcher.stream(prompt, max_new_tokens=20, seed=1)
    tokens = [next(good)]
    with pytest.raises(ValueError, match="input_ids has ids from 0 to 13; this model knows 0 to 12"):
        batcher.stream(torch.tensor([[0, 13]]), max_new_tokens=3)
    with pytest.raises(ValueError, match=r"shape \(2, 3\); give one text"):
        batcher.stream(ids(2, 3), max_new_tokens=3)
    with pytest.raises(ValueError, match="temperature is -1"):
        batcher.stream(prompt, max_new_tokens=3, temperature=-1)
    bad = batcher.stream(prompt, max_new_tokens=20, seed=2)
    next(bad)
    bad._text.past = bad._text.past._replace(held=torch.zeros(1, 2, 3))  # no room could hold it
    with pytest.raises(Exception, match="unpack"):
        next(bad)
    assert next(bad, None) is None
    assert tokens + list(good) == alone(model, prompt, max_new_tokens=20, seed=1)


def test_when_a_step_fails_all_in_it_are_told_and_later_ones_go_on(small_model, ids, monkeypatch):
    model, prompt = small_model("gpt2"), ids(1, 3)
    batcher = Batcher(model)
    streams = [batcher.stream(prompt, max_new_tokens=20, seed=seed) for seed in (1, 2)]
    for _ in range(2):
        for stream in streams:
            next(stream)

    def fail(ids):
        raise MemoryError("too little")

    for stream in streams:  # what is there already is still given
        while stream._text.chosen:
            next(stream)
    monkeypatch.setattr(batcher._decoding._rows._decoder, "read", fail)
    with pytest.raises(MemoryError):
        next(streams[0])
    with pytest.raises(RuntimeError, match="computed together failed: MemoryError"):
        next(streams[1])
    stream = batcher.stream(prompt, max_new_tokens=20, seed=1)
    assert list(stream) == alone(model, prompt, max_new_tokens=20, seed=1)


def test_a_model_that_has_diverged(small_model, ids):
    batcher = Batcher(small_model("gpt2"))
    stream = batcher.stream(ids(1, 3), max_new_tokens=20)
    next(stream)
    with torch.no_grad():
        batcher.model.final_norm.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match="logits are not numbers"):
        list(stream)


@pytest.mark.parametrize(("most_rows", "error"), [(0, ValueError), (1.5, TypeError)])
def test_rows_are_a_whole_number(small_model, most_rows, error):
    with pytest.raises(error, match=f"most_rows is {most_rows}; give"):
        Batcher(small_model("gpt2"), most_rows)
