"""The decoder against the plain model: for every kind, in rows that come, grow and go."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gpt.costs.formulas import cache_bytes
from gpt.generation.decoder import Decoder, can_decode, read_prompt, rolls_forever
from gpt.generation.stream import stream_tokens
from gpt.model.layers import GPT2LayerNorm


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


class Rows:
    """A decoder beside the texts that its rows have read: every logit is compared with the plain model's."""

    def __init__(self, model):
        self.model, self.decoder, self.texts = model, Decoder(model), []

    def add(self, *lengths):
        for length in lengths:
            text = torch.randint(13, (1, length))
            past, logits = read_prompt(self.model, text)
            assert_close(logits, self.model(text)[:, -1], atol=1e-5, rtol=1e-5)
            self.decoder.slots.add(past)
            self.texts.append(text)

    def remove(self, row):
        self.decoder.slots.remove(row)
        self.texts[row] = self.texts[-1]
        self.texts.pop()

    def read(self, count):
        for _ in range(count):
            new = torch.randint(13, (len(self.texts),))
            logits = self.decoder.read(new)
            self.texts = [
                torch.cat((text, token.view(1, 1)), dim=1) for text, token in zip(self.texts, new, strict=True)
            ]
            expected = torch.cat([self.model(text)[:, -1] for text in self.texts])
            assert_close(logits, expected, atol=1e-5, rtol=1e-5)
            assert self.decoder.slots.lengths == [text.shape[1] for text in self.texts]


def test_rows_that_come_and_go_equal_the_plain_model(kind, small_model):
    """The windows are of 6 tokens; the context of 150 has the columns doubled twice."""
    rows = Rows(small_model(kind, context_length=150))
    rows.add(3)
    rows.read(10)  # alone: no mask
    rows.add(1, 13)  # a short one and one as long as the first has become
    rows.read(8)
    rows.remove(0)
    rows.add(70, 2)  # longer than the columns so far
    rows.read(20)
    rows.remove(3)
    rows.remove(0)
    rows.read(30)
    rows.remove(1)
    rows.read(9)
    rows.remove(0)  # nobody is left
    rows.add(5)
    rows.read(3)


@pytest.mark.parametrize("window_size", [1, 2, 5, 63, 64, 65, 100])
def test_windows_around_the_number_of_columns(small_model, window_size):
    rows = Rows(small_model("modern", window_size=window_size, context_length=150))
    rows.add(3, 60)
    rows.read(12)
    rows.add(90)
    rows.read(8)
    rows.remove(1)
    rows.read(40)


def test_several_rows_at_once_as_of_one_text_each(kind, small_model, ids):
    model, text = small_model(kind), ids(3, 9)
    decoder = Decoder(model)
    past, _ = read_prompt(model, text)
    decoder.slots.add(past)
    for token in ids(8, 3):
        text = torch.cat((text, token[:, None]), dim=1)
        assert_close(decoder.read(token), model(text)[:, -1], atol=1e-5, rtol=1e-5)


def test_a_row_that_goes_and_comes_back_has_forgotten_nothing(kind, small_model):
    rows = Rows(small_model(kind))
    rows.add(4, 9, 7)
    rows.read(5)
    slots, text = rows.decoder.slots, rows.texts[0]
    past = slots.past(0)
    rows.remove(0)
    rows.read(11)
    slots.add(past)
    rows.texts.append(text)
    rows.read(6)


def test_the_bytes_are_the_formulas_and_constant_past_the_window(kind, small_model):
    model = small_model(kind)
    rows = Rows(model)
    rows.add(2, 11)
    for _ in range(30):
        rows.read(1)
        slots = rows.decoder.slots
        assert [slots.row_bytes(row) for row in (0, 1)] == [cache_bytes(model.config, len_) for len_ in slots.lengths]
        assert slots.nbytes == slots.row_bytes(0) + slots.row_bytes(1)
    if model.config.window_size:
        held = slots._numbers[:, :, : len(slots.lengths)]
        assert held.nbytes == slots.nbytes  # nothing else is reserved for these rows


def test_what_a_broken_row_leaves_behind_harms_nobody(small_model):
    """0 x nan is nan, also where a key weighs nothing."""
    rows = Rows(small_model("rotary"))
    rows.add(20, 20)
    rows.decoder.slots._numbers.fill_(torch.nan)
    rows.remove(1)
    rows.remove(0)
    rows.add(3, 8)
    rows.read(4)
    rows.decoder.slots._numbers[:, :, 1] = torch.nan
    rows.remove(1)
    rows.add(1)
    rows.read(4)


def test_the_weights_are_those_of_the_moment(kind, small_model, ids):
    """As the plain model with its cache, whose weights change between two tokens."""
    model, text, tokens = small_model(kind), ids(1, 5), ids(6, 1)
    decoder, cache = Decoder(model), model.new_cache()
    decoder.slots.add(read_prompt(model, text)[0])
    model(text, cache=cache)
    for token in tokens:
        assert_close(decoder.read(token), model(token[None], cache=cache)[:, -1], atol=1e-5, rtol=1e-5)
        for parameter in model.parameters():
            parameter.mul_(1.01).add_(0.003)


@torch.inference_mode()
def test_models_made_in_inference_mode(small_model):
    """Their parameters do not count their changes."""
    rows = Rows(small_model("modern", context_length=150, window_size=100))
    rows.add(5, 2)
    rows.read(9)
    rows.model.blocks[0].attention.query.weight.zero_()
    cache, (text, _), token = rows.model.new_cache(), rows.texts, torch.tensor([3])
    decoder = Decoder(rows.model)
    rows.model(text, cache=cache)
    decoder.slots.add(read_prompt(rows.model, text)[0])
    rows.model.blocks[0].attention.value.weight.mul_(1.5)
    assert_close(decoder.read(token), rows.model(token[None], cache=cache)[:, -1], atol=1e-5, rtol=1e-5)


def test_half_precision(kind, small_model, ids):
    model = small_model(kind).bfloat16()
    text, token = ids(1, 9), ids(1, 1)
    decoder = Decoder(model)
    decoder.slots.add(read_prompt(model, text)[0])
    expected = model(torch.cat((text, token), dim=1))[:, -1]
    logits = decoder.read(token[0])
    assert logits.dtype == torch.bfloat16
    assert_close(logits, expected, atol=0.15, rtol=0.1)


# --- What it refuses ------------------------------------------------------------------------------------------------


class OtherNorm(GPT2LayerNorm):
    """Does something else."""

    def forward(self, x):
        return 2 * super().forward(x)


def hook_a_part(model):
    model.blocks[1].attention.register_forward_hook(lambda part, given, made: -3 * made)


def exchange_a_part(model):
    model.blocks[0].feed_forward_norm = OtherNorm(32)


def override_a_method(model):
    part = model.blocks[0].feed_forward
    part.forward = lambda x, forward=part.forward: forward(x).tanh()


@pytest.mark.parametrize("change", [hook_a_part, exchange_a_part, override_a_method])
def test_a_model_that_has_been_changed_is_called(small_model, ids, change):
    """The decoder would not see the change, so it stays out of the way."""
    model, text = small_model("modern"), ids(1, 5)
    plain = model.generate(text, max_new_tokens=20, temperature=0)
    assert can_decode(model)
    change(model)
    assert not can_decode(model)
    with pytest.raises(ValueError, match="parts or hooks that Decoder does not know; call the model itself"):
        Decoder(model)
    result = text
    for _ in range(20):
        result = torch.cat((result, model(result)[:, -1:].argmax(-1)), dim=1)
    stream = stream_tokens(model, text, max_new_tokens=20, temperature=0)
    assert torch.equal(torch.stack(list(stream), dim=1), result[:, 5:])
    assert stream.cache_bytes > 0  # with the cache of the model
    assert not torch.equal(plain, result)


def test_other_modules_are_not_decoded_nor_layers_that_are_not_as_configured(small_model):
    assert not can_decode(nn.Linear(3, 3))
    model = small_model("modern")
    model.blocks[1].attention.window_size = 9
    assert not can_decode(model)
    assert not can_decode(small_model("gpt2", causal=False))


def test_not_beyond_the_context_unless_the_window_rolls_for_ever(small_model, ids):
    endless, ending = (
        small_model(kind, context_length=12, window_size=3) for kind in ("none-window", "sliding-window")
    )
    assert rolls_forever(endless.config)
    assert not rolls_forever(ending.config)
    for model in (endless, ending):
        decoder = Decoder(model)
        decoder.slots.add(read_prompt(model, ids(1, 11))[0])
        assert not decoder.is_at_its_end(0)
        decoder.read(ids(1, 1)[0])
        assert decoder.is_at_its_end(0) == (model is ending)
        if model is endless:
            decoder.read(ids(1, 1)[0])
        else:
            with pytest.raises(ValueError, match="has read 12 tokens, this model's context"):
                decoder.read(ids(1, 1)[0])


def test_as_many_ids_as_rows(small_model, ids):
    decoder = Decoder(small_model("gpt2"))
    with pytest.raises(ValueError, match=r"shape \(1,\); give one for each row, of which there are 0"):
        decoder.read(ids(1, 1)[0])
    decoder.slots.add(read_prompt(small_model("gpt2"), ids(2, 3))[0])
    with pytest.raises(ValueError, match=r"shape \(3,\); give one for each row, of which there are 2"):
        decoder.read(ids(1, 3)[0])
