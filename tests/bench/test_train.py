"""A step of ours and of its peers, whose models are held to ours with the same weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from benchmarks import SIZE, TINY_TRAINING, measured
from references import gpt2_reference

from gpt import GPT2, TrainConfig, Trainer
from gpt.bench import steps, train
from gpt.bench.nanogpt import NanoGPT
from gpt.bench.peers import gpt2_peer
from gpt.model.config import make_config
from gpt.training.optimizers import build_optimizers


@pytest.fixture
def tiny_train(corpus):
    return train.Setting(size=SIZE, training=replace(train.ENDLESS, batch_size=2), steps=2, repeats=2, corpus=corpus)


def test_train(tiny_train):
    rows = measured(train.rows(tiny_train))
    assert list(rows) == ["train.nanogpt", "train.transformers"]
    for row in rows.values():
        assert row.ours > 0
        assert row.peer > 0
        assert row.ratio > 0
        assert row.more["ratio_with_AdamW"] > 0
        assert row.unit == "tokens/s"
        assert "2 x 16 tokens, 1 layers of 2 heads, 8 wide" in row.measured
        assert "2 in each repeat" in row.measured
        assert any(f"the peer's is {name}, the quickest" in row.measured for name in steps.MUONS)


@pytest.mark.parametrize(("is_fast", "goal"), [(True, 2.0), (False, 1.25)])
def test_the_goal_and_the_peers_optimizer_are_those_of_the_machine(tiny_train, monkeypatch, is_fast, goal):
    """Without units for bfloat16, no peer is given a Muon that computes in it."""
    for module in ("gpt.bench.steps", "gpt.training.devices"):
        monkeypatch.setattr(f"{module}.is_fast_in_bfloat16", lambda device: is_fast)
    row = measured(train.rows(tiny_train))["train.nanogpt"]
    assert row.goal == goal
    assert ("bfloat16, which is fast here" in row.measured) == is_fast
    if not is_fast:
        assert "the peer's is our Muon in float32" in row.measured


def test_a_peer_is_trained_as_ours_is(corpus):
    """Our own model in a peer's place comes to the same weights as by a `Trainer`: the loops differ in nothing else."""
    config = replace(TINY_TRAINING, max_steps=5, precision="float32")
    ours, theirs = (GPT2.from_config(make_config("gpt2", corpus.tokenizer.vocab_size, **SIZE)) for _ in range(2))
    list(Trainer(ours, corpus, config).events())
    optimizers = build_optimizers(theirs, config)
    trained = steps.PeerTraining(theirs, theirs, optimizers, corpus, SIZE["context_length"], config)
    trained.go_on(2)
    trained.go_on(5)
    assert trained.step == 5
    assert trained.seconds > 0
    for name, weight in theirs.named_parameters():
        torch.testing.assert_close(weight, ours.get_parameter(name))


def test_however_little_time_there_is_each_is_timed_twice(tiny_train):
    rows = measured(train.rows(replace(tiny_train, seconds=0.0, repeats=5)))
    assert all("1 in each repeat" in row.measured for row in rows.values())


# --- nanoGPT --------------------------------------------------------------------------------------------------------


def as_nanogpt(model, *, gelu):
    """NanoGPT with the weights of our model, by way of the original's names and layout."""
    theirs = gpt2_reference(model).transformer.state_dict()
    names = {
        "token_embedding": "wte",
        "position_embedding": "wpe",
        "final_norm": "ln_f",
        "attention_norm": "ln_1",
        "attend": "attn.c_attn",
        "attention_project": "attn.c_proj",
        "feed_forward_norm": "ln_2",
        "expand": "mlp.c_fc",
        "project": "mlp.c_proj",
    }
    nano = NanoGPT(model.config, bias=True, gelu=gelu)
    with torch.no_grad():
        for name, parameter in nano.named_parameters():
            *place, part, kind = name.split(".")
            prefix = f"h.{place[1]}." if place else ""
            weight = theirs[f"{prefix}{names[part]}.{kind}"]
            is_linear = place and kind == "weight" and weight.ndim == 2
            parameter.copy_(weight.T if is_linear else weight)
    return nano


def losses(models, ids):
    return [F.cross_entropy(model(ids).flatten(0, 1), ids.roll(1, dims=1).flatten()) for model in models]


def test_nanogpt_is_our_gpt2_with_another_gelu(small_model, ids):
    """With the same weights: to rounding with GELU's tanh form, and else by what the two forms of GELU differ."""
    model = small_model("gpt2")
    some = ids(3, 20)
    torch.testing.assert_close(as_nanogpt(model, gelu="tanh")(some), model(some), rtol=1e-4, atol=1e-4)
    ours, tanh, exact = losses([model, as_nanogpt(model, gelu="tanh"), as_nanogpt(model, gelu="none")], some)
    torch.testing.assert_close(tanh, ours, rtol=1e-5, atol=1e-5)
    assert 1e-6 < abs(exact - ours) < 1e-2  # the two forms differ by at most 0.0005


def test_nanogpt_and_ours_get_equal_gradients(small_model, ids):
    model = small_model("gpt2")
    nano, some = as_nanogpt(model, gelu="tanh"), ids(2, 12)
    ours, theirs = losses([model, nano], some)
    ours.backward()
    theirs.backward()
    torch.testing.assert_close(
        nano.token_embedding.weight.grad, model.token_embedding.weight.grad, rtol=1e-3, atol=1e-5
    )
    torch.testing.assert_close(nano.final_norm.weight.grad, model.final_norm.weight.grad, rtol=1e-3, atol=1e-5)


def test_nanogpt_trains_without_biases_and_starts_as_gpt2_does(small_config):
    model = NanoGPT(small_config("gpt2", num_layers=8, embed_size=64))
    assert not [name for name, _ in model.named_parameters() if name.endswith("bias")]
    spreads = {name: float(weight.detach().std()) for name, weight in model.named_parameters() if weight.ndim == 2}
    for name, spread in spreads.items():
        scale = 0.02 / 4 if name.endswith("project.weight") else 0.02  # 1 / sqrt(2 x 8 layers)
        assert spread == pytest.approx(scale, rel=0.1), name


def test_its_weights_decay_as_nanogpt_has_it(small_config):
    """AdamW decays what has two dimensions, embeddings included, and nothing else."""
    model = NanoGPT(small_config("gpt2"))
    (adamw,) = build_optimizers(model, replace(TrainConfig(), matrix_learning_rate=None, weight_decay=0.1))
    decayed = {id(p) for group in adamw.param_groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {id(p) for p in model.parameters() if p.ndim == 2}
    assert sum(len(group["params"]) for group in adamw.param_groups) == len(list(model.parameters()))


# --- transformers ---------------------------------------------------------------------------------------------------


def test_train_gives_both_the_same_optimizers(corpus, small_config):
    """Muon moves the matrices of the blocks, AdamW the rest, and nothing is left out."""
    theirs = gpt2_peer(small_config("gpt2"))
    adamw, muon = build_optimizers(steps.NamedAsOurs(theirs), TrainConfig())
    by_muon = [parameter for group in muon.param_groups for parameter in group["params"]]
    by_adamw = [parameter for group in adamw.param_groups for parameter in group["params"]]
    assert len(by_muon) == 4 * 2  # four matrices in each of two blocks
    assert {id(parameter) for parameter in by_muon + by_adamw} == {id(parameter) for parameter in theirs.parameters()}
    ours = GPT2.from_config(small_config("gpt2"))
    assert sum(p.numel() for p in by_muon) == sum(
        p.numel() for p in build_optimizers(ours, TrainConfig())[1].param_groups[0]["params"]
    )
