"""Silencing heads: against a forward pass by hand in which a head's output is left out, and losses one by one."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest
import torch
from torch.testing import assert_close

from gpt.interpret import ablated, ablation_costs, difference_and_error, kv_reactions, next_token_losses

LAYERS, HEADS, WIDTH = 2, 4, 8  # of the small models


def logits_by_hand(model, input_ids, without=()):
    """Logits (T, vocab_size) of ids (T,), head by head, without those (layer, head) that are left out.

    The weights of attention are those by the formula, which other tests hold to be right; their use is written out.
    """
    x = model.embed(input_ids[None])  # (1, T, C)
    for number, block in enumerate(model.blocks):
        attention = block.attention
        seen = block.attention_norm(x)
        weights = attention.attention_weights(seen)  # (1, H, T, T)
        values = attention.value(seen)  # (1, T, G * head_dim)
        width, shared_by = attention.head_dim, attention.num_heads // attention.num_kv_heads
        x = x + attention.output.bias
        for head in range(attention.num_heads):
            if (number, head) not in without:
                group = head // shared_by
                read = weights[:, head] @ values[..., group * width : (group + 1) * width]  # (1, T, head_dim)
                x = x + read @ attention.output.weight[:, head * width : (head + 1) * width].T
        x = x + block.feed_forward(block.feed_forward_norm(x))
    return model.output_layer(model.final_norm(x))[0]


def token_losses(logits, targets):
    """-log softmax, written out: (N,)."""
    return torch.stack(
        [logits[i].double().logsumexp(0) - logits[i, target].double() for i, target in enumerate(targets)]
    )


def loss_by_model(model, text):
    with torch.no_grad():
        return model(text[None, :-1], text[None, 1:])[1].item()


def sharing(model, group):
    """The query heads that share a KV head."""
    each = model.config.num_heads // model.config.kv_heads
    return range(group * each, (group + 1) * each)


# --- Silenced models ------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_an_ablated_head_is_absent(kind, small_model, ids, causal):
    model, text = small_model(kind, causal=causal).double(), ids(1, 17)[0]
    whole = model(text[None])[0]
    assert_close(logits_by_hand(model, text), whole)
    for head in itertools.product(range(LAYERS), range(HEADS)):
        changed = ablated(model, [head])(text[None])[0]
        assert_close(changed, logits_by_hand(model, text, {head}))
        assert (changed - whole).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_an_ablated_kv_head_takes_along_the_heads_that_share_it(kind, small_model, ids, causal):
    model, text = small_model(kind, causal=causal).double(), ids(1, 17)[0]
    for layer, group in itertools.product(range(LAYERS), range(model.config.kv_heads)):
        changed = ablated(model, kv_heads=[(layer, group)])
        without = {(layer, head) for head in sharing(model, group)}
        assert_close(changed(text[None])[0], logits_by_hand(model, text, without))
        assert_close(changed(text[None]), ablated(model, without)(text[None]))


@torch.no_grad()
@pytest.mark.parametrize(
    ("heads", "kv_heads"),
    [
        ([(0, 1), (1, 1)], []),
        ([(0, 0), (0, 3), (1, 2)], []),
        ([(1, 0), (1, 0)], []),  # named twice
        ([(0, 0), (0, 1), (0, 2), (0, 3)], []),  # a whole layer
        (list(itertools.product(range(LAYERS), range(HEADS))), []),  # the whole model
        ([(1, 3)], [(0, 0)]),
        ([(0, 3), (1, 0)], [(0, 0), (1, 0)]),
    ],
)
def test_several_heads_at_once(kind, small_model, ids, heads, kv_heads):
    model, text = small_model(kind).double(), ids(1, 17)[0]
    without = {*heads, *((layer, head) for layer, group in kv_heads for head in sharing(model, group))}
    assert_close(ablated(model, heads, kv_heads)(text[None])[0], logits_by_hand(model, text, without))


@torch.no_grad()
def test_ablating_twice_is_ablating_both(kind, small_model, ids):
    model, input_ids = small_model(kind), ids(1, 17)
    twice = ablated(ablated(model, [(0, 1)]), [(0, 2)], [(1, 0)])
    assert torch.equal(twice(input_ids), ablated(model, [(0, 1), (0, 2)], [(1, 0)])(input_ids))


def test_the_model_stays_as_it_is(kind, small_model, ids):
    model, input_ids = small_model(kind), ids(1, 17)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    with torch.no_grad():
        logits = model(input_ids)
        ablated(model, [(0, 1), (1, 3)], [(1, 0)])(input_ids)
        assert torch.equal(model(input_ids), logits)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.requires_grad


def test_only_the_attention_of_a_touched_layer_has_memory_of_its_own(kind, small_model):
    model = small_model(kind)
    for heads, kv_heads, touched in (
        ([], [], ()),
        ([(1, 2)], [], (1,)),
        ([], [(0, 0)], (0,)),
        ([(0, 0)], [(1, 0)], (0, 1)),
    ):
        theirs = dict(ablated(model, heads, kv_heads).named_parameters())
        assert theirs.keys() == dict(model.named_parameters()).keys()
        for name, parameter in model.named_parameters():
            is_own = name.startswith(tuple(f"blocks.{layer}.attention." for layer in touched))
            assert (theirs[name].data_ptr() == parameter.data_ptr()) is not is_own, name


def test_no_weight_changes_but_those_of_the_head(kind, small_model):
    model = small_model(kind)
    theirs = dict(ablated(model, [(1, 2)], [(0, 0)]).named_parameters())
    for name, parameter in model.named_parameters():
        expected = parameter.detach().clone()
        if name == "blocks.1.attention.output.weight":
            expected[:, 2 * WIDTH : 3 * WIDTH] = 0
        elif name.startswith(("blocks.0.attention.key", "blocks.0.attention.value")):
            expected[:WIDTH] = 0
        assert torch.equal(theirs[name], expected), name


def test_the_output_layer_still_has_the_embedding_as_weight(small_model):
    changed = ablated(small_model("modern"), [(0, 0)])
    assert changed.output_layer.weight is changed.token_embedding.weight


def test_the_mode_is_that_of_the_model(small_model):
    assert ablated(small_model("gpt2").train(), [(0, 0)]).training
    assert not ablated(small_model("gpt2"), [(0, 0)]).training


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_generation_without_a_head(kind, small_model, ids, causal):
    """With a cache and past the edge of the window, where there is one."""
    model, text = small_model(kind, causal=causal).double(), ids(1, 5)[0]
    without = {(0, 3), *((1, head) for head in sharing(model, 0))}
    generated = ablated(model, [(0, 3)], [(1, 0)]).generate(text[None], max_new_tokens=15, temperature=0)
    for _ in range(15):
        text = torch.cat((text, logits_by_hand(model, text, without)[-1].argmax()[None]))
    assert generated[0].tolist() == text.tolist()


@pytest.mark.parametrize("choice", [(2, 0), (-1, 0), (0, 4), (0, -1)])
def test_a_head_that_is_not_there_is_refused(small_model, choice):
    layer, head = choice
    message = f"no head {head} in layer {layer}; layers go from 0 to 1 and heads from 0 to 3"
    with pytest.raises(ValueError, match=message):
        ablated(small_model("modern"), [(0, 0), choice])


@pytest.mark.parametrize("choice", [(2, 0), (-1, 0), (0, 2), (0, -1)])
def test_a_kv_head_that_is_not_there_is_refused(small_model, choice):
    layer, head = choice
    message = f"no KV head {head} in layer {layer}; layers go from 0 to 1 and KV heads from 0 to 1"
    with pytest.raises(ValueError, match=message):
        ablated(small_model("modern"), kv_heads=[(0, 0), choice])


# --- Which head reads which KV head ---------------------------------------------------------------------------------

SHARED = [(1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4), (6, 2), (6, 3), (8, 2)]


@pytest.mark.parametrize(("num_heads", "num_kv_heads"), SHARED)
@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"positions": "rotary", "window_size": 4},
        {"positions": "alibi", "causal": False},
        {"positions": "none", "window_size": 1},
    ],
)
def test_a_head_reacts_to_its_own_kv_head_and_to_no_other(small_model, ids, num_heads, num_kv_heads, choices):
    sizes = {"embed_size": 4 * num_heads, "num_heads": num_heads, "num_kv_heads": num_kv_heads}
    model, text = small_model("gpt2", **sizes, **choices), ids(1, 11)[0]
    reactions = kv_reactions(model, text)
    assert reactions.shape == (LAYERS, num_kv_heads, num_heads)
    for group, head in itertools.product(range(num_kv_heads), range(num_heads)):
        is_own = group == head // (num_heads // num_kv_heads)
        assert reactions[:, group, head].tolist() == [is_own, is_own]  # 1 and 0: all of it, or nothing


def mixed_by_output(model, layer, input_ids):
    """What a layer's output projection reads when the model runs: (B, T, C)."""
    read = []
    handle = model.blocks[layer].attention.output.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    model(input_ids)
    handle.remove()
    return read[0]


@torch.no_grad()
@pytest.mark.parametrize(("num_heads", "num_kv_heads"), SHARED)
def test_in_the_running_model_too(small_model, ids, num_heads, num_kv_heads):
    """What the output projection reads, a slice for each head, is zero or untouched to the last bit."""
    sizes = {"embed_size": 4 * num_heads, "num_heads": num_heads, "num_kv_heads": num_kv_heads}
    model, input_ids = small_model("modern", **sizes), ids(1, 11)
    for layer, group in itertools.product(range(LAYERS), range(num_kv_heads)):
        before, after = (
            mixed_by_output(one, layer, input_ids).unflatten(-1, (num_heads, 4))
            for one in (model, ablated(model, kv_heads=[(layer, group)]))
        )
        for head in range(num_heads):
            is_own = head in sharing(model, group)
            assert torch.equal(after[..., head, :], before[..., head, :] * (not is_own))


def test_reactions_leave_the_model_alone(small_model, ids):
    model = small_model("modern", dropout=0.5).train()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    text = ids(1, 11)[0]
    assert torch.equal(kv_reactions(model, text), kv_reactions(model, text))
    assert model.training
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


# --- What ablation costs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [True, False])
def test_costs_are_differences_of_the_losses_of_ablated_models(kind, small_model, ids, causal):
    model, text = small_model(kind, causal=causal), ids(1, 33)[0]
    whole = loss_by_model(model, text)
    results = list(ablation_costs(model, text))
    assert [result.layer for result in results] == list(range(LAYERS))
    for layer, result in enumerate(results):
        heads = [loss_by_model(ablated(model, [(layer, head)]), text) - whole for head in range(HEADS)]
        groups = range(model.config.kv_heads)
        kv_heads = [loss_by_model(ablated(model, kv_heads=[(layer, group)]), text) - whole for group in groups]
        assert_close(result.costs, torch.tensor(heads).double(), atol=1e-5, rtol=0)
        assert_close(result.kv_costs, torch.tensor(kv_heads).double(), atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_costs_and_errors_equal_the_formula(kind, small_model, ids, causal):
    """Mean and std / sqrt(n) of the paired differences, token by token, from the forward pass by hand."""
    model, text = small_model(kind, causal=causal).double(), ids(1, 21)[0]
    whole = token_losses(logits_by_hand(model, text[:-1]), text[1:])

    def by_hand(without):
        differences = (token_losses(logits_by_hand(model, text[:-1], without), text[1:]) - whole).tolist()
        mean = sum(differences) / 20
        variance = sum((difference - mean) ** 2 for difference in differences) / 19
        return [mean, math.sqrt(variance) / math.sqrt(20)]

    for layer, result in enumerate(ablation_costs(model, text)):
        for head in range(HEADS):
            found = [result.costs[head].item(), result.errors[head].item()]
            assert found == pytest.approx(by_hand({(layer, head)}), abs=1e-9)
        for group in range(model.config.kv_heads):
            found = [result.kv_costs[group].item(), result.kv_errors[group].item()]
            assert found == pytest.approx(by_hand({(layer, head) for head in sharing(model, group)}), abs=1e-9)


@pytest.mark.parametrize(("num_heads", "num_kv_heads"), SHARED)
def test_costs_for_other_numbers_of_heads_and_layers(small_model, ids, num_heads, num_kv_heads):
    sizes = {"embed_size": 4 * num_heads, "num_heads": num_heads, "num_kv_heads": num_kv_heads}
    num_layers = 1 + num_heads % 3
    model, text = small_model("modern", num_layers=num_layers, **sizes), ids(1, 13)[0]
    whole = loss_by_model(model, text)
    results = list(ablation_costs(model, text))
    assert len(results) == num_layers
    for result in results:
        assert result.costs.shape == result.errors.shape == (num_heads,)
        assert result.kv_costs.shape == result.kv_errors.shape == (num_kv_heads,)
        for head in range(num_heads):
            cost = loss_by_model(ablated(model, [(result.layer, head)]), text) - whole
            assert result.costs[head].item() == pytest.approx(cost, abs=1e-5)
        for group in range(num_kv_heads):
            cost = loss_by_model(ablated(model, kv_heads=[(result.layer, group)]), text) - whole
            assert result.kv_costs[group].item() == pytest.approx(cost, abs=1e-5)


def test_an_ablated_head_costs_nothing(kind, small_model, ids):
    model = ablated(small_model(kind), [(1, 2)])
    result = list(ablation_costs(model, ids(1, 17)[0]))[1]
    assert result.costs[2].item() == pytest.approx(0, abs=1e-6)
    assert result.errors[2].item() == pytest.approx(0, abs=1e-6)


def test_one_prediction_has_a_cost_of_unknown_error(kind, small_model, ids):
    model, text = small_model(kind), ids(1, 2)[0]
    whole = loss_by_model(model, text)
    for layer, result in enumerate(ablation_costs(model, text)):
        cost = loss_by_model(ablated(model, [(layer, 1)]), text) - whole
        assert result.costs[1].item() == pytest.approx(cost, abs=1e-5)
        assert result.errors.tolist() == [math.inf] * HEADS
        assert result.kv_errors.tolist() == [math.inf] * model.config.kv_heads


def test_a_text_may_fill_the_context(kind, small_model, ids):
    """The last token is only predicted, not read."""
    model, text = small_model(kind, context_length=12), ids(1, 13)[0]
    assert all(result.costs.isfinite().all() for result in ablation_costs(model, text))


@pytest.mark.parametrize("length", [0, 1])
def test_a_text_too_short_is_refused(small_model, length):
    text = torch.zeros(length, dtype=torch.long)
    with pytest.raises(ValueError, match=rf"shape \({length},\); give \(length,\) with at least 2 tokens"):
        list(ablation_costs(small_model("modern"), text))
    with pytest.raises(ValueError, match="at least 2 tokens"):
        next_token_losses(small_model("modern"), text)


def test_a_batch_is_refused(small_model, ids):
    with pytest.raises(ValueError, match=r"shape \(2, 9\); give \(length,\)"):
        list(ablation_costs(small_model("gpt2"), ids(2, 9)))


def test_a_text_too_long_is_refused(small_model, ids):
    with pytest.raises(ValueError, match="text has 13 tokens and this model has learned 12 positions"):
        list(ablation_costs(small_model("gpt2", context_length=12), ids(1, 14)[0]))


def test_costs_leave_the_model_alone_at_every_step(small_model, ids):
    """Dropout is off for the measure and back on between its steps, where a page may do other things."""
    model, text = small_model("modern", dropout=0.5), ids(1, 17)[0]
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    expected = [result.costs for result in ablation_costs(model, text)]
    for result in ablation_costs(model.train(), text):
        assert torch.equal(result.costs, expected[result.layer])
        assert model.training
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    assert all(parameter.grad is None for parameter in model.parameters())


@torch.no_grad()
def test_next_token_losses_are_minus_log_softmax(kind, small_model, ids):
    model, text = small_model(kind), ids(1, 17)[0]
    losses = next_token_losses(model, text)
    assert_close(losses.double(), token_losses(model(text[None, :-1])[0], text[1:]), atol=1e-5, rtol=1e-5)
    assert losses.mean().item() == pytest.approx(loss_by_model(model, text), abs=1e-5)


@pytest.mark.parametrize("count", [2, 3, 40])
def test_difference_and_error_are_those_of_paired_samples(count):
    losses, reference = torch.randn(2, 3, count), torch.randn(count)
    means, errors = difference_and_error(losses, reference)
    assert means.shape == errors.shape == (2, 3)
    for i, j in itertools.product(range(2), range(3)):
        differences = [a - b for a, b in zip(losses[i, j].tolist(), reference.tolist(), strict=True)]
        assert means[i, j].item() == pytest.approx(statistics.mean(differences))
        assert errors[i, j].item() == pytest.approx(statistics.stdev(differences) / math.sqrt(count))


def test_the_error_of_one_difference_is_not_known():
    means, errors = difference_and_error(torch.tensor([[2.0], [0.5]]), torch.tensor([0.5]))
    assert means.tolist() == [1.5, 0.0]
    assert errors.tolist() == [math.inf, math.inf]
