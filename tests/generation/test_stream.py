"""Generation against plain loops, and what may be asked of it."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from gpt import CharTokenizer, stream_text, stream_tokens
from gpt.costs.formulas import cache_bytes
from gpt.generation.sampling import Sampling, are_numbers, choose, next_token_probabilities


@torch.no_grad()
def greedy(model, input_ids, count):
    """The definition: read the last `context_length` tokens anew, take the likeliest, append."""
    for _ in range(count):
        logits = model(input_ids[:, -model.config.context_length :])[:, -1]
        input_ids = torch.cat((input_ids, logits.argmax(dim=-1, keepdim=True)), dim=1)
    return input_ids


@pytest.mark.parametrize("prompt_length", [1, 9, 12, 20])
def test_equals_a_plain_loop_far_beyond_the_context(kind, small_model, ids, prompt_length):
    """Windows of 3 in 2 layers reach 5 tokens, less than the context of 12: these caches roll for ever."""
    changes = {"window_size": 3} if "window" in kind or kind == "modern" else {}
    model, prompt = small_model(kind, context_length=12, **changes), ids(2, prompt_length)
    result = model.generate(prompt, max_new_tokens=30, temperature=0)
    assert torch.equal(result, greedy(model, prompt, 30))


@pytest.mark.parametrize("window_size", [1, 6, 7, 12, 20])
@pytest.mark.parametrize("positions", ["learned", "rotary", "alibi", "none"])
def test_windows_around_the_edge_of_rolling_for_ever(small_model, ids, positions, window_size):
    """In 2 layers a window of 6 reaches 11 of 12 tokens and one of 7 reaches 13: from there on the cache must go."""
    model = small_model("gpt2", positions=positions, window_size=window_size, context_length=12)
    prompt = ids(2, 5)
    assert torch.equal(model.generate(prompt, max_new_tokens=30, temperature=0), greedy(model, prompt, 30))


@pytest.mark.parametrize("kind", ["modern", "alibi-window-multi-query", "none-window"])
def test_a_cache_that_may_roll_for_ever_does(small_model, ids, kind):
    """Past the context each token is read once, and not the whole context anew."""
    model = small_model(kind, context_length=12, window_size=3)
    stream = stream_tokens(model, ids(2, 5), max_new_tokens=30)
    assert stream.cache_bytes == 0
    for given in range(30):
        next(stream)
        assert stream.cache_bytes == cache_bytes(model.config, min(5 + given, 12), batch=2) > 0
    model, lengths = small_model(kind, context_length=12, window_size=3), []
    model.register_forward_pre_hook(lambda _, arguments: lengths.append(arguments[0].shape[1]))
    model.generate(ids(1, 5), max_new_tokens=30)
    assert lengths == [5] + [1] * 29


@pytest.mark.parametrize("prompt_length", [1, 9, 12])
def test_a_cache_is_held_as_long_as_it_is_exact(kind, small_model, ids, prompt_length):
    model = small_model(kind, context_length=12)
    stream = stream_tokens(model, ids(3, prompt_length), max_new_tokens=20)
    held = [stream.cache_bytes for _ in stream]
    read = range(prompt_length, prompt_length + 20)
    rolls = kind in ("modern", "alibi-window-multi-query", "none-window")  # 2 x (6 - 1) + 1 tokens are within 12
    assert held == [cache_bytes(model.config, min(t, 12), batch=3) if t <= 12 or rolls else 0 for t in read]


def test_without_a_causal_mask_the_text_is_read_anew(small_model, ids):
    model, prompt = small_model("rotary", causal=False, context_length=12), ids(2, 5)
    assert torch.equal(model.generate(prompt, max_new_tokens=20, temperature=0), greedy(model, prompt, 20))


def test_max_length_counts_the_prompt_and_rows_stay_together(kind, small_model, ids):
    model, prompt = small_model(kind), ids(2, 6)
    result = model.generate(prompt, max_length=20, num_return_sequences=3, temperature=0.7, seed=1)
    assert result.shape == (6, 20)
    assert torch.equal(result[:, :6], prompt.repeat_interleave(3, dim=0))
    assert len({tuple(row.tolist()) for row in result}) > 2  # continuations of one prompt differ
    assert model.generate(prompt, max_new_tokens=3).shape == (2, 9)
    assert model.generate(prompt, max_length=4, max_new_tokens=3).shape == (2, 9)
    assert model.generate(prompt).shape == (2, 50)


def test_a_seed_gives_the_same_text_again_and_no_other_stream_moves(kind, small_model, ids):
    model, prompt = small_model(kind), ids(1, 5)
    before = torch.get_rng_state()

    def text(seed):  # hot enough that two texts of 45 tokens are never equal by chance
        return model.generate(prompt, temperature=5.0, seed=seed)

    assert torch.equal(text(3), text(3))
    assert not torch.equal(text(3), text(4))
    assert not torch.equal(text(None), text(None))
    assert torch.equal(torch.get_rng_state(), before)


def test_everything_drains_the_stream(small_model, ids):
    model, prompt = small_model("modern"), ids(2, 5)
    tokens = list(stream_tokens(model, prompt, max_new_tokens=9, temperature=0.9, top_k=5, top_p=0.8, seed=1))
    assert [token.shape for token in tokens] == [(2,)] * 9
    drained = model.generate(prompt, max_new_tokens=9, temperature=0.9, top_k=5, top_p=0.8, seed=1)
    assert torch.equal(drained[:, 5:], torch.stack(tokens, dim=1))


def test_two_streams_of_one_model_do_not_meet(small_model, ids):
    model, first, second = small_model("modern"), ids(1, 5), ids(1, 9)
    streams = [stream_tokens(model, prompt, max_new_tokens=12, seed=1) for prompt in (first, second)]
    taken = [torch.stack(tokens, dim=1) for tokens in zip(*zip(*streams, strict=True), strict=True)]
    for prompt, tokens in zip((first, second), taken, strict=True):
        assert torch.equal(tokens, model.generate(prompt, max_new_tokens=12, seed=1)[:, prompt.shape[1] :])


def test_the_model_is_left_as_it_was_found(small_model, ids):
    model = small_model("gpt2", dropout=0.5).train()
    stream = stream_tokens(model, ids(1, 3), max_new_tokens=4, seed=1)
    next(stream)
    assert model.training  # between tokens too
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    rest = [int(token) for token in stream]
    assert model.training
    assert len(rest) == 3
    model.eval()
    model.generate(ids(1, 3))
    assert not model.training


def test_dropout_is_off_while_generating(small_model, ids):
    model, prompt = small_model("gpt2", dropout=0.5).train(), ids(1, 5)
    assert torch.equal(model.generate(prompt, temperature=0), model.generate(prompt, temperature=0))


# --- The distribution -----------------------------------------------------------------------------------------------


def test_temperature_divides_the_logits():
    logits = torch.randn(3, 13)
    for temperature in (0.1, 1, 3.0):
        assert_close(next_token_probabilities(logits, temperature), (logits / temperature).softmax(dim=-1))


def test_top_k_and_top_p_by_hand():
    probabilities = torch.tensor([[0.1, 0.5, 0.05, 0.2, 0.15]])
    logits = probabilities.log()

    def kept(**choices):
        return next_token_probabilities(logits, 1.0, **choices)[0].tolist()

    assert kept(top_k=2) == pytest.approx([0, 5 / 7, 0, 2 / 7, 0])
    assert kept(top_k=5) == kept(top_k=100) == pytest.approx(probabilities[0].tolist())
    assert kept(top_p=0.4) == pytest.approx([0, 1, 0, 0, 0])  # at least the likeliest
    assert kept(top_p=0.6) == pytest.approx([0, 5 / 7, 0, 2 / 7, 0])  # the one that reaches p is kept
    assert kept(top_p=0.8) == pytest.approx([0, 0.5 / 0.85, 0, 0.2 / 0.85, 0.15 / 0.85])
    assert kept(top_p=1.0) == pytest.approx(probabilities[0].tolist())
    assert kept(top_k=2, top_p=0.6) == pytest.approx([0, 1, 0, 0, 0])  # top k first, then top p of what is left


@pytest.mark.parametrize("size", [1, 13, 65, 5000])
@pytest.mark.parametrize("choices", [(1.0, None, None), (0.7, 5, None), (1.3, None, 0.8), (2.0, 9, 0.9)])
def test_the_draw_is_that_of_multinomial(size, choices):
    """Token for token, so that a seed gives the text it has always given; a row alone as among others."""
    logits = 3 * torch.randn(6, size)
    probabilities = next_token_probabilities(logits, *choices)

    def generators(count):
        return [torch.Generator().manual_seed(seed) for seed in range(count)]

    sampling, ours, theirs = Sampling(*choices), generators(2)[1:], generators(2)[1]
    for _ in range(20):
        assert torch.equal(choose(logits, sampling, ours), torch.multinomial(probabilities, 1, generator=theirs)[:, 0])
    for texts in (6, 3, 2):  # of 1, 2 and 3 rows
        together, alone = generators(texts), generators(texts)
        for _ in range(20):
            drawn = [
                choose(rows, sampling, [generator]) for rows, generator in zip(logits.chunk(texts), alone, strict=True)
            ]
            assert torch.equal(choose(logits, sampling, together), torch.cat(drawn))
    assert torch.equal(choose(logits, Sampling(temperature=0), together), logits.argmax(dim=-1))


def test_logits_that_are_not_numbers_are_seen():
    logits = torch.tensor([[1.0, 2.0], [-math.inf, 0.0]])
    assert are_numbers(logits)  # a token that never comes is none to refuse
    for broken in (math.nan, math.inf):
        logits[1, 0] = broken
        assert not are_numbers(logits)
        assert not are_numbers(logits[1:])
    assert not are_numbers(torch.full((1, 2), -math.inf))


@pytest.mark.parametrize("temperature", [0, 0.7])
def test_a_model_that_has_diverged(small_model, ids, temperature):
    model = small_model("gpt2")
    stream = stream_tokens(model, ids(2, 3), max_new_tokens=20, temperature=temperature)
    next(stream)
    with torch.no_grad():
        model.final_norm.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match="the model's logits are not numbers: its training has diverged"):
        next(stream)
    assert next(stream, None) is None


def test_samples_follow_the_distribution(small_model, ids):
    """2,000 draws from 13 tokens: the frequencies are within five standard errors."""
    model = small_model("gpt2")
    prompt = ids(1, 4)
    drawn = model.generate(prompt, max_new_tokens=1, num_return_sequences=2000, temperature=2.0, seed=0)[:, -1]
    with torch.no_grad():
        expected = next_token_probabilities(model(prompt)[:, -1], 2.0)[0]
    frequency = torch.bincount(drawn, minlength=13) / 2000
    assert ((frequency - expected).abs() <= 5 * (expected * (1 - expected) / 2000).sqrt() + 1e-9).all()


def test_top_k_of_one_and_a_tiny_temperature_are_greedy(small_model, ids):
    model, prompt = small_model("modern"), ids(2, 5)
    likeliest = model.generate(prompt, temperature=0)
    assert torch.equal(model.generate(prompt, temperature=1.0, top_k=1), likeliest)
    assert torch.equal(model.generate(prompt, temperature=1e-6), likeliest)


@pytest.mark.parametrize("temperature", [1e-30, 1e-40, 1e-50, 1e-300])
def test_no_positive_temperature_is_too_small(temperature):
    """Below float32's smallest number the division is 0 / 0."""
    probabilities = next_token_probabilities(torch.tensor([[1.0, 3.0, 2.0]]), temperature)
    assert probabilities.tolist() == [[0.0, 1.0, 0.0]]


# --- Text -----------------------------------------------------------------------------------------------------------


def test_stream_text_continues_the_prompt(small_model):
    tokenizer = CharTokenizer("abcdefghijklm")
    model = small_model("gpt2")
    pieces = list(stream_text(model, tokenizer, "bad", max_new_tokens=10, seed=2))
    expected = model.generate(torch.tensor([tokenizer.encode("bad")]), max_new_tokens=10, seed=2)[0, 3:]
    assert "".join(pieces) == tokenizer.decode(expected.tolist())
    assert len(pieces) == 10


@pytest.mark.parametrize(
    ("prompt", "message"), [("", "the prompt is empty"), ("bad égg", "has never seen ' ' 'é'; leave these")]
)
def test_stream_text_refuses_when_called_and_names_the_characters(small_model, prompt, message):
    with pytest.raises(ValueError, match=message):
        stream_text(small_model("gpt2"), CharTokenizer("abcdefghijklm"), prompt, max_new_tokens=3)


# --- Refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choices", "error", "message"),
    [
        ({"temperature": -0.5}, ValueError, "temperature is -0.5; give 0"),
        ({"temperature": math.nan}, ValueError, "temperature is nan; give a finite number"),
        ({"temperature": math.inf}, ValueError, "temperature is inf; give a finite number"),
        ({"temperature": "hot"}, TypeError, "temperature is 'hot'; give a number"),
        ({"top_k": 0}, ValueError, "top_k is 0; give 1 or more"),
        ({"top_k": 1.5}, TypeError, "top_k is 1.5; give a whole number"),
        ({"top_p": 0}, ValueError, "top_p is 0; it is a probability"),
        ({"top_p": 1.1}, ValueError, "top_p is 1.1; it is a probability"),
        ({"max_new_tokens": 0}, ValueError, "max_new_tokens is 0; give 1 or more"),
        ({"num_return_sequences": 0}, ValueError, "num_return_sequences is 0; give 1 or more"),
        ({"max_length": 5}, ValueError, "the prompt has 5 tokens and max_length is 5, which counts the prompt"),
        ({"max_length": 2.5}, TypeError, "max_length is 2.5; give a whole number"),
        ({"seed": -1}, ValueError, "seed is -1; give 0 or more"),
        ({"seed": 1.0}, TypeError, "seed is 1.0; give a whole number"),
    ],
)
def test_choices_outside_what_is_allowed(small_model, ids, choices, error, message):
    with pytest.raises(error, match=message):
        small_model("gpt2").generate(ids(1, 5), **choices)


@pytest.mark.parametrize(
    ("input_ids", "message"),
    [
        (torch.tensor([[0, 13]]), "input_ids has ids from 0 to 13; this model knows 0 to 12"),
        (torch.tensor([[-1, 2]]), "input_ids has ids from -1 to 2; this model knows 0 to 12"),
        (torch.zeros(1, 0, dtype=torch.long), r"input_ids has shape \(1, 0\); give \(batch, length\)"),
        (torch.tensor([1, 2]), r"input_ids has shape \(2,\); give \(batch, length\)"),
    ],
)
def test_ids_the_model_does_not_know(small_model, input_ids, message):
    """Told when called, before any token is asked for."""
    with pytest.raises(ValueError, match=message):
        stream_tokens(small_model("gpt2"), input_ids, max_new_tokens=3)
