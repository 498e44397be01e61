"""The whole model: against Hugging Face's GPT-2, its initialisation, its causality."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F
from references import gpt2_reference
from torch.testing import assert_close

from gpt import GPT2, VARIANTS, GPTConfig
from gpt.costs.formulas import parameter_count

SIZE = {"vocab_size": 40, "embed_size": 32, "num_heads": 4, "num_layers": 3, "context_length": 24}


@torch.no_grad()
@pytest.mark.parametrize(
    ("vocab_size", "embed_size", "num_heads", "hidden_size", "num_layers", "context_length"),
    [
        (65, 64, 4, 256, 2, 32),
        (11, 12, 3, 20, 1, 7),
        (257, 48, 2, 192, 4, 40),
        (5, 8, 8, 8, 3, 16),
        (30, 16, 1, 64, 2, 5),
    ],
)
def test_equals_hugging_face_gpt2(vocab_size, embed_size, num_heads, hidden_size, num_layers, context_length):
    model = GPT2(vocab_size, embed_size, num_heads, hidden_size, num_layers, context_length=context_length).eval()
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.08)
    reference = gpt2_reference(model)
    for length in (1, context_length // 2, context_length):
        input_ids = torch.randint(vocab_size, (3, length))
        assert_close(model(input_ids), reference(input_ids).logits, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_freshly_initialised_model_equals_hugging_face_gpt2():
    model = GPT2(50, 96, 6, 384, 3, context_length=64).eval()
    input_ids = torch.randint(50, (2, 64))
    assert_close(model(input_ids), gpt2_reference(model)(input_ids).logits, atol=1e-5, rtol=0)


def test_gradients_equal_hugging_face_gpt2():
    model = GPT2(30, 16, 2, 64, 2, context_length=12).eval()
    reference = gpt2_reference(model)
    input_ids, targets = torch.randint(30, (2, 2, 12))
    _, loss = model(input_ids, targets)
    loss.backward()
    theirs = F.cross_entropy(reference(input_ids).logits.flatten(0, 1), targets.flatten())
    theirs.backward()
    assert_close(loss, theirs, atol=1e-5, rtol=0)
    assert_close(model.token_embedding.weight.grad, reference.transformer.wte.weight.grad, atol=1e-6, rtol=1e-4)
    assert_close(model.position_embedding.weight.grad, reference.transformer.wpe.weight.grad, atol=1e-6, rtol=1e-4)


def test_logits_and_loss(kind, small_model, ids):
    model, input_ids, targets = small_model(kind), ids(3, 9), ids(3, 9)
    targets[0, :4] = -100
    logits, loss = model(input_ids, targets)
    assert logits.shape == (3, 9, 13)
    assert torch.equal(logits, model(input_ids))
    counted = targets != -100
    expected = -logits.log_softmax(dim=-1)[counted].gather(-1, targets[counted][:, None]).mean()
    assert_close(loss, expected)


@torch.no_grad()
def test_the_future_cannot_change_the_past(kind, small_model, ids):
    model, input_ids = small_model(kind), ids(2, 30)
    before = model(input_ids)
    changed = input_ids.clone()
    changed[:, 17:] = (changed[:, 17:] + 1) % 13
    after = model(changed)
    assert_close(after[:, :17], before[:, :17], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(after[:, 17:], before[:, 17:], atol=1e-2)


def test_no_gradient_flows_from_the_past_to_the_future(kind, small_model):
    """As sharp as it gets: not small, but exactly zero."""
    model = small_model(kind)
    x = torch.randn(1, 20, 32, requires_grad=True)
    y = x
    for block in model.blocks:
        y = block(y)
    y[:, 11].sum().backward()
    assert (x.grad[:, 12:] == 0).all()
    assert (x.grad[:, 11] != 0).any()


@torch.no_grad()
@pytest.mark.parametrize("positions", ["learned", "rotary", "alibi", "none"])
def test_without_the_causal_mask_the_future_is_seen(small_model, ids, positions):
    model, input_ids = small_model("gpt2", positions=positions, causal=False), ids(1, 20)
    changed = input_ids.clone()
    changed[:, 12] = (changed[:, 12] + 1) % 13
    assert ((model(changed) - model(input_ids)).abs().amax(dim=-1) > 1e-4).all()


@torch.no_grad()
def test_a_token_beyond_the_receptive_field_does_not_count(small_model, ids):
    """With a window of W, k layers reach k(W - 1) + 1 tokens and no further."""
    model, input_ids = small_model("none-window", num_layers=3, window_size=4), ids(1, 24)
    changed = input_ids.clone()
    changed[:, 5] = (changed[:, 5] + 1) % 13
    unlike = (model(changed) - model(input_ids)).abs().amax(dim=(0, 2)) > 1e-6
    assert unlike.tolist() == [5 <= i < 5 + model.config.receptive_field for i in range(24)]


@torch.no_grad()
def test_relative_positions_do_not_care_where_a_text_begins(small_model, ids):
    for kind in ("modern", "alibi-window-multi-query", "none-window"):
        model, input_ids = small_model(kind), ids(1, 30)
        last = model(input_ids)[:, -1]
        assert_close(model(input_ids[:, -model.config.receptive_field :])[:, -1], last, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_only_learned_positions_end_at_the_context(kind, small_model, ids):
    model = small_model(kind)
    assert model(ids(1, 48)).shape == (1, 48, 13)
    if model.config.positions == "learned":
        with pytest.raises(ValueError, match="the text has 49 tokens and this model has learned 48 positions"):
            model(ids(1, 49))
    else:
        assert model(ids(1, 100)).isfinite().all()


# --- Initialisation -------------------------------------------------------------------------------------------------


def test_shared_tensors_of_two_variants_start_equal(kind, small_config):
    base = dict(GPT2.from_config(small_config("gpt2")).named_parameters())
    other = dict(GPT2.from_config(small_config(kind)).named_parameters())
    shared = [name for name in base if name in other and base[name].shape == other[name].shape]
    assert {"token_embedding.weight", "blocks.0.attention.query.weight", "blocks.1.feed_forward.project.weight"} <= set(
        shared
    )
    for name in shared:
        assert torch.equal(base[name], other[name]), name


def test_tensors_that_differ_in_shape_do_not_move_the_others():
    """Were there one stream for all, a narrower key would shift every tensor after it."""
    small, large = (GPT2.from_config(VARIANTS["gpt2"](**(SIZE | {"num_layers": layers}))) for layers in (1, 3))
    assert torch.equal(small.token_embedding.weight, large.token_embedding.weight)
    assert torch.equal(small.blocks[0].feed_forward.expand.weight, large.blocks[0].feed_forward.expand.weight)


def test_initialisation_does_not_touch_the_global_stream():
    before = torch.get_rng_state()
    model = GPT2.from_config(VARIANTS["modern"](**SIZE))
    model.initialize(5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    again = GPT2.from_config(VARIANTS["modern"](**SIZE))
    again.initialize(5)
    for mine, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_seeds_differ():
    model = GPT2.from_config(VARIANTS["gpt2"](**SIZE))
    first = model.token_embedding.weight.clone()
    model.initialize(1338)
    assert not torch.equal(model.token_embedding.weight, first)
    model.initialize()
    assert torch.equal(model.token_embedding.weight, first)


def test_initialisation_is_that_of_gpt2():
    model = GPT2(200, 128, 4, 512, 8, context_length=100)
    for name, parameter in model.named_parameters():
        if name.endswith("norm.weight"):
            assert (parameter == 1).all()
        elif name.endswith("bias"):
            assert (parameter == 0).all()
        else:
            is_residual = name.endswith(("attention.output.weight", "feed_forward.project.weight"))
            scale = 0.02 / math.sqrt(2 * 8) if is_residual else 0.02
            assert parameter.std().item() == pytest.approx(scale, rel=0.05), name
            assert abs(parameter.mean().item()) < scale / 10, name


def test_a_fresh_model_guesses_uniformly(trainable, corpus):
    model = trainable()
    _, loss = model(corpus.train_ids[:16][None], corpus.train_ids[1:17][None])
    assert loss.item() == pytest.approx(math.log(corpus.tokenizer.vocab_size), abs=0.2)


def test_the_output_weight_is_the_token_embedding(kind, small_config):
    model = GPT2.from_config(small_config(kind))
    assert model.output_layer.weight is model.token_embedding.weight
    assert copy.deepcopy(model).output_layer.weight.shape == (13, 32)
    assert sum(p.numel() for p in model.parameters()) == parameter_count(model.config)


def test_a_meta_model_takes_no_memory():
    """A model of 10^14 weights: it could not be made anywhere else."""
    with torch.device("meta"):
        model = GPT2(10**6, 10**6, 1000, 4 * 10**6, 10, context_length=10**6)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert sum(p.numel() for p in model.parameters()) == parameter_count(model.config) > 10**14


def test_a_config_restores_a_model(kind, small_config):
    config = small_config(kind, dropout=0.1)
    assert GPT2(**asdict(config)).config == config
    assert GPT2.from_config(config).config == config
    blocks = GPT2.from_config(config).blocks
    assert [block.attention.window_size for block in blocks] == [config.window_size] * 2


def test_there_are_no_buffers(kind, small_config):
    assert list(GPT2.from_config(small_config(kind)).buffers()) == []


def test_load_weights_takes_named_parameters(small_model, ids):
    source, model = small_model("modern", seed=1), small_model("modern", seed=2)
    model.load_weights({name: weight.detach().clone() for name, weight in source.named_parameters()})
    assert torch.equal(model(ids(1, 5) * 0), source(ids(1, 5) * 0))


@pytest.mark.parametrize(
    ("input_ids", "message"),
    [
        (torch.zeros(3, dtype=torch.long), r"input_ids has shape \(3,\); give \(batch, length\)"),
        (torch.zeros(1, 0, dtype=torch.long), r"input_ids has shape \(1, 0\)"),
    ],
)
def test_wrong_shapes_are_refused(small_model, input_ids, message):
    with pytest.raises(ValueError, match=message):
        small_model("gpt2")(input_ids)


def test_targets_must_fit(small_model, ids):
    with pytest.raises(ValueError, match=r"targets has shape \(2, 4\) and input_ids \(2, 5\); give them equal shapes"):
        small_model("gpt2")(ids(2, 5), ids(2, 4))


def test_a_configuration_that_is_not_one_is_refused():
    with pytest.raises(ValueError, match="must be divisible"):
        GPT2(50, 30, 4)
    assert GPTConfig(50).num_layers == 12
