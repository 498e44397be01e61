"""Many readers of one model: each gets what it would get alone, whoever else comes, goes, waits or fails."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import threading
import weakref

import pytest
import torch
from reliability import many_readers

from gpt import stream_tokens
from gpt.generation import GenerationEngine, GenerationFailed, Sampling, core
from gpt.generation.decoder import Decoder
from gpt.generation.owner import MOST_AHEAD, TURN, Owner

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


@pytest.fixture
def is_idle(wait_until):
    """`is_idle(engine)`: wait until its thread has ended."""

    def wait(engine):
        def is_working():
            owners = [thread for thread in threading.enumerate() if isinstance(thread, Owner)]
            return any(owner.inbox is engine._inbox for owner in owners)

        wait_until(lambda: not is_working(), "the engine to be idle")
        assert engine._owner is None

    return wait


def test_each_gets_what_it_gets_alone(kind, small_model, ids, is_idle):
    """One reader takes a token of each in turn; with a context of 16 most have to be read again at the end."""
    model = small_model(kind, context_length=16)
    wanted = orders(ids, 7, 20)
    engine = GenerationEngine(model)
    streams = [engine.stream(prompt, **choices) for prompt, choices in wanted]
    given = [[] for _ in streams]
    while any(stream.tokens_left for stream in streams):
        for stream, tokens in zip(streams, given, strict=True):
            tokens.extend(token for token in [next(stream, None)] if token is not None)
    assert given == [alone(model, prompt, **choices) for prompt, choices in wanted]
    is_idle(engine)


@pytest.mark.parametrize("kind_of_some", ["gpt2", "modern", "alibi"])
def test_joining_and_leaving_in_the_middle(small_model, ids, kind_of_some):
    model = small_model(kind_of_some)
    wanted = orders(ids, 9, 25)
    engine, given, streams = GenerationEngine(model), {}, {}
    for moment in range(60):
        if moment % 3 == 0 and moment // 3 < len(wanted):
            prompt, choices = wanted[moment // 3]
            streams[moment // 3] = engine.stream(prompt, **choices)
        if moment == 20:
            streams.pop(2).close()
            del streams[4]  # dropped without a word
        for number, stream in streams.items():
            token = next(stream, None)
            given.setdefault(number, []).extend([] if token is None else [token])
    for number, (prompt, choices) in enumerate(wanted):
        expected = alone(model, prompt, **choices)
        assert given[number] == (expected[: len(given[number])] if number in (2, 4) else expected)


@pytest.mark.parametrize(("name", "repeats"), [("learned", 8), ("rolling", 8), ("hooked", 4)])
def test_many_readers_who_leave_when_they_like(name, repeats):
    """Twenty-four threads, between which Python changes every 5 ms down to every 20 us."""
    classroom = many_readers.Classroom(many_readers.models()[name])
    count = many_readers.read_repeatedly(classroom, repeats)
    assert count.is_clean, count


@pytest.mark.parametrize("kind", ["gpt2", "modern", "without a causal mask", "with a hook"])
def test_a_stream_tells_what_a_token_stream_tells(small_model, ids, kind):
    if kind == "without a causal mask":
        model = small_model("rotary", causal=False, context_length=16)
    else:
        model = small_model(kind if kind == "modern" else "gpt2", context_length=16)
    if kind == "with a hook":
        model.blocks[0].register_forward_hook(lambda part, given, made: 1.1 * made)
    prompt, engine = ids(1, 6), GenerationEngine(model)
    other, stream = engine.stream(ids(1, 3), max_new_tokens=30), engine.stream(prompt, max_new_tokens=20, seed=1)
    single = stream_tokens(model, prompt, max_new_tokens=20, seed=1)
    assert (stream.tokens_left, stream.cache_bytes) == (single.tokens_left, single.cache_bytes) == (20, 0)
    for _ in range(20):
        assert next(stream) == next(single)
        assert (stream.tokens_left, stream.cache_bytes) == (single.tokens_left, single.cache_bytes)
    assert len(list(other)) == 30


def test_all_is_computed_inside_the_limiter(small_model, ids, monkeypatch):
    """Prompts, tokens side by side, and texts that are read again."""

    class Noting:
        is_inside, entered = False, 0

        def __enter__(self):
            assert not self.is_inside, "entered again from inside"
            self.is_inside, self.entered = True, self.entered + 1

        def __exit__(self, *_):
            self.is_inside = False

    limiter, calls = Noting(), set()
    model, prompt = small_model("gpt2", context_length=16), ids(1, 10)
    expected = alone(model, prompt, max_new_tokens=20, seed=1)

    def note(owner, name):
        original = getattr(owner, name)

        def noting(*arguments, **options):
            assert limiter.is_inside, name
            calls.add((owner, name))
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, noting)

    watched = {(core, "read_prompt"), (Decoder, "read"), (core._Rereading, "read")}
    for owner, name in watched:
        note(owner, name)
    assert list(GenerationEngine(model, limiter=limiter).stream(prompt, max_new_tokens=20, seed=1)) == expected
    assert calls == watched
    assert limiter.entered == 20


def test_no_way_of_reading_sets_the_pace_of_another(small_model):
    """Each step goes to the way that has had the least time; one that has been idle is owed nothing."""
    engine = GenerationEngine(small_model("gpt2"))
    owner = Owner(engine.model, 32, engine._limiter, engine._inbox, lambda: True)
    (decoding, _), rereading = owner._core.caching, owner._core.rereading
    assert owner._next_way() is None
    rereading.texts = ["slow"]
    owner._seconds[rereading] = 100.0
    assert owner._next_way() is rereading
    decoding.texts, steps = ["fast"], []
    for _ in range(22):
        way = owner._next_way()
        owner._seconds[way] += 1.0 if way is decoding else 10.0
        steps.append(way)
    assert (steps.count(decoding), steps.count(rereading)) == (20, 2)


# --- Readers that wait or leave -------------------------------------------------------------------------------------


def test_a_slow_reader_holds_up_nobody_and_is_not_far_ahead(small_model, ids):
    model = small_model("none-window")
    engine = GenerationEngine(model, most_rows=1)
    slow = engine.stream(ids(1, 4), max_new_tokens=500, seed=1)
    first = [next(slow), next(slow)]  # it has the only row
    prompt = ids(1, 7)
    assert list(engine.stream(prompt, max_new_tokens=300, seed=2)) == alone(model, prompt, max_new_tokens=300, seed=2)
    assert 500 - slow._text.left <= MOST_AHEAD + len(first)
    assert len(first + list(slow)) == 500


def test_readers_beyond_the_rows_take_turns(small_model, ids):
    """None gets far before another gets its first token, and all get on: the last row is taken by who waits longest."""
    engine = GenerationEngine(small_model("none-window"), most_rows=2)
    streams = [engine.stream(ids(1, 2), max_new_tokens=10 * TURN, seed=seed) for seed in range(5)]
    for stream in streams:
        next(stream)
    assert all(10 * TURN - stream._text.left <= MOST_AHEAD + 1 for stream in streams)
    assert [len(list(stream)) for stream in streams] == [10 * TURN - 1] * 5


@pytest.mark.parametrize("kind", ["gpt2", "modern"])
def test_closed_and_dropped_streams_leave_nothing_behind(small_model, ids, is_idle, wait_until, kind):
    """The thread ends, whatever was in rows, in line or waiting for its reader; and with it goes the model."""
    model = small_model(kind)
    engine = GenerationEngine(model, most_rows=2)
    streams = [engine.stream(ids(1, 3), max_new_tokens=30 + 10 * seed, seed=seed) for seed in range(5)]
    for stream in streams:
        next(stream)
    streams[0].close()
    assert next(streams[0], None) is None
    stream = None
    del streams[1:4]
    assert len(list(streams[1])) == 69
    is_idle(engine)
    streams.append(engine.stream(ids(1, 3), max_new_tokens=30))  # the engine goes on
    assert len(list(streams[2])) == 30
    is_idle(engine)
    gone = [weakref.ref(engine), weakref.ref(model)]
    del engine, model, stream  # the streams that are over are still there
    wait_until(lambda: gc.collect() >= 0 and [reference() for reference in gone] == [None, None], "both to be gone")


def test_a_closed_engine_says_so(small_model, ids, is_idle):
    engine = GenerationEngine(small_model("none-window"))
    streams = [engine.stream(ids(1, 3), max_new_tokens=10_000, seed=seed) for seed in range(3)]
    for stream in streams:
        next(stream)
    engine.close()
    for stream in streams:
        with pytest.raises(GenerationFailed, match="generation with this model has been stopped; choose"):
            list(stream)
        assert next(stream, None) is None
    is_idle(engine)
    with pytest.raises(GenerationFailed, match="no longer generated with; choose it again"):
        engine.stream(ids(1, 3), max_new_tokens=3)
    engine.close()


def test_python_may_end_while_a_text_is_under_way():
    """A thread that is killed inside PyTorch takes the process down with "terminate called"."""
    program = """
        from gpt.generation import GenerationEngine
        from gpt.model.gpt2 import GPT2
        import torch
        model = GPT2(65, 64, 4, 256, 4, positions="none", window_size=8)
        stream = GenerationEngine(model).stream(torch.zeros(1, 1, dtype=torch.long), max_new_tokens=10**6)
        print(sum(1 for _, _ in zip(range(100), stream)))
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "100\n", "")


# --- What goes wrong ------------------------------------------------------------------------------------------------


def test_what_is_wrong_with_one_text_is_told_to_its_reader_alone(small_model, ids, monkeypatch):
    model = small_model("gpt2")
    engine, prompt = GenerationEngine(model), ids(1, 3)
    good = engine.stream(prompt, max_new_tokens=40, seed=1)
    tokens = [next(good)]
    with pytest.raises(ValueError, match="input_ids has ids from 0 to 13; this model knows 0 to 12"):
        engine.stream(torch.tensor([[0, 13]]), max_new_tokens=3)
    with pytest.raises(ValueError, match=r"shape \(2, 3\); give one text"):
        engine.stream(ids(2, 3), max_new_tokens=3)
    with pytest.raises(ValueError, match="temperature is -1"):
        engine.stream(prompt, max_new_tokens=3, temperature=-1)

    def read_prompt(model, input_ids):
        raise MemoryError("too little")

    with monkeypatch.context() as patch:
        patch.setattr(core, "read_prompt", read_prompt)
        bad = engine.stream(prompt, max_new_tokens=20, seed=2)
        with pytest.raises(GenerationFailed, match="MemoryError: too little"):
            next(bad)
    assert next(bad, None) is None
    assert tokens + list(good) == alone(model, prompt, max_new_tokens=40, seed=1)


@pytest.mark.parametrize("rows", [1, 3])
def test_logits_that_are_not_numbers_end_their_text_alone(small_model, ids, monkeypatch, rows):
    """Texts with the same choices and with others go on as if it had never been there."""
    model, read = small_model("gpt2"), Decoder.read
    wanted = [(prompt.expand(rows, -1), choices) for prompt, choices in orders(ids, 6, 20)]
    expected = [torch.stack(list(stream_tokens(model, prompt, **choices))) for prompt, choices in wanted]
    several, texts, given = core.Core(model), [], [[] for _ in wanted]
    for prompt, choices in wanted:
        sampling = {name: value for name, value in choices.items() if name != "max_new_tokens"}
        texts.append(core.Text(model, prompt, choices["max_new_tokens"], Sampling(**sampling)))
    with torch.inference_mode():
        for text, tokens in zip(texts, given, strict=True):
            several.admit(text)
            tokens.append(text.newest)
        for step in range(30):
            broken = texts[2].first_row if step == 4 else None

            def read_one_badly(self, ids, broken=broken):
                logits = read(self, ids)
                if broken is not None:
                    logits[broken, 5] = torch.nan
                return logits

            monkeypatch.setattr(Decoder, "read", read_one_badly)
            for text in several.step(several.caching[0]) if several.caching[0].texts else ():
                if text.error is None:
                    given[texts.index(text)].append(text.newest)
    assert "not numbers" in str(texts[2].error)
    expected[2] = expected[2][:5]
    for tokens, own in zip(given, expected, strict=True):
        assert torch.equal(torch.stack(tokens), own)


def test_when_a_step_fails_all_in_it_are_told_and_later_ones_go_on(small_model, ids, monkeypatch, is_idle):
    model, prompt = small_model("none-window"), ids(1, 3)
    engine = GenerationEngine(model)
    streams = [engine.stream(prompt, max_new_tokens=500, seed=seed) for seed in (1, 2)]
    for stream in streams:
        next(stream)

    def fail(self, ids):
        raise MemoryError("too little")

    with monkeypatch.context() as patch:
        patch.setattr(Decoder, "read", fail)
        for stream in streams:  # what is there already is still given
            with pytest.raises(GenerationFailed, match="computed together failed: MemoryError: too little"):
                list(stream)
    assert list(engine.stream(prompt, max_new_tokens=20, seed=1)) == alone(model, prompt, max_new_tokens=20, seed=1)
    is_idle(engine)


def test_a_model_that_diverges_under_way(small_model, ids):
    engine = GenerationEngine(small_model("none-window"))
    stream = engine.stream(ids(1, 3), max_new_tokens=500)
    next(stream)
    with torch.no_grad():
        engine.model.final_norm.weight.fill_(torch.nan)
    with pytest.raises(GenerationFailed, match="logits are not numbers: its training has diverged; go back"):
        list(stream)


@pytest.mark.parametrize(("most_rows", "error"), [(0, ValueError), (1.5, TypeError)])
def test_rows_are_a_whole_number(small_model, most_rows, error):
    with pytest.raises(error, match=f"most_rows is {most_rows}; give"):
        GenerationEngine(small_model("gpt2"), most_rows)
