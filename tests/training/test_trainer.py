"""Training: that it learns, that it goes on bit for bit after a stop, and that watching changes nothing."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from gpt import RECIPES, Corpus, TrainConfig, Trainer, TrainingDiverged, evaluate, train
from gpt.data.batches import BatchStream, validation_windows
from gpt.training.devices import pick_device
from gpt.training.trainer import TrainingInterrupted

RESUMED = {
    "fast": {},
    "nanogpt": {**RECIPES["nanogpt"], "max_steps": 8, "batch_size": 4, "warmup_steps": 2},
    "averaging": {"ema_decay": 0.6},
}


def losses_of(events):
    """What is learned and measured, without the times."""
    return [
        (
            *(event.step, event.train_loss, event.validation_loss, event.learning_rate),
            *(event.gradient_norm, event.validation_accuracy),
        )
        for event in events
    ]


def assert_same_weights(first, second):
    for (name, mine), (_, other) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        assert torch.equal(mine, other), name


def test_one_batch_can_be_overfitted(kind, trainable, quick):
    """18 letters to learn from are one row of 17; what follows "aba" only the letters before it tell."""
    letters = Corpus.from_text("letters", "abacabadabacabaeabac")
    changes = {"window_size": 6} if "window" in kind or kind == "modern" else {}
    model = trainable(kind, vocab_size=5, context_length=17, **changes)
    config = quick(max_steps=150, batch_size=2, eval_interval=1000, weight_decay=0.0, learning_rate=1e-2)
    events = list(Trainer(model, letters, config).events())
    assert events[1].train_loss > 1.4  # ln 5 is 1.61
    assert events[-1].train_loss < 0.05


def test_it_learns_more_than_pairs_of_characters(trainable, corpus, quick):
    model = trainable("rotary", embed_size=32)
    before = evaluate(model, corpus)
    list(train(model, corpus, quick(max_steps=150, batch_size=16, eval_interval=50)))
    assert evaluate(model, corpus) < corpus.bigram_loss < before


@pytest.mark.parametrize("recipe", RESUMED)
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_resume_is_bit_exact(trainable, corpus, quick, recipe, dropout):
    config = quick(**RESUMED[recipe])
    through = Trainer(trainable(dropout=dropout), corpus, config)
    events = list(through.events())
    first = Trainer(trainable(dropout=dropout), corpus, config)
    head = [event for _, event in zip(range(4), first.events(), strict=False)]
    state = first.state()
    assert state.step == first.step == 4  # about to be evaluated
    second = Trainer(trainable(dropout=dropout), corpus, config)
    torch.randn(17)  # someone else draws from the global stream
    second.load_state(state)
    tail = list(second.events())
    assert losses_of([*head, *tail]) == losses_of(events)
    assert_same_weights(second.model, through.model)
    assert second.batches_digest == through.batches_digest
    assert (second.best_loss, second.best_step) == (through.best_loss, through.best_step)
    for name, weight in through.best_weights.items():
        assert torch.equal(second.best_weights[name], weight)


def test_the_average_follows_the_formula_and_is_what_is_evaluated(trainable, corpus, quick):
    """EMA: m <- d m + (1 - d) w, with d = min(ema_decay, (1 + n) / (10 + n)) after the nth update."""
    averaging = Trainer(trainable(), corpus, quick(ema_decay=0.5, eval_interval=1, eval_windows=None))
    plain = Trainer(trainable(), corpus, quick(eval_interval=1))
    expected = plain.copy_of_weights()
    shown = trainable()
    shown.load_weights(averaging.copy_of_weights())
    for event, _ in zip(averaging.events(), plain.events(), strict=True):
        assert event.validation_loss == pytest.approx(evaluate(shown, corpus), abs=1e-6)
        if averaging.step > event.step:  # after each event but the last
            kept = min(0.5, (1 + averaging.step) / (10 + averaging.step))
            for name, weight in plain.copy_of_weights().items():
                expected[name] = kept * expected[name] + (1 - kept) * weight
        assert_same_weights(averaging.model, plain.model)  # it learns as if nothing were averaged
        shown.load_weights(averaging.copy_of_weights())
        for name, weight in averaging.copy_of_weights().items():
            assert_close(weight, expected[name], atol=1e-6, rtol=0)
    averaging.restore_best()
    assert evaluate(averaging.model, corpus) == pytest.approx(averaging.best_loss, abs=1e-6)


def test_a_state_is_a_copy(trainable, corpus, quick):
    """Two trainers that go on from one state do not change it, nor each other."""
    config = quick(max_steps=6)
    source = Trainer(trainable(), corpus, config)
    stream = source.events()
    for _ in range(4):
        next(stream)
    state = source.state()
    kept = {name: tensor.clone() for name, tensor in state.tensors.items()}
    list(stream)
    trainers = [Trainer(trainable(), corpus, config) for _ in range(2)]
    for trainer in trainers:
        trainer.load_state(state)
        list(trainer.events())
    for name, tensor in kept.items():
        assert torch.equal(state.tensors[name], tensor), name
    assert_same_weights(trainers[0].model, source.model)
    assert_same_weights(trainers[1].model, source.model)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_watching_does_not_change_what_is_learned(trainable, corpus, quick, dropout):
    plain = Trainer(trainable(dropout=dropout), corpus, quick(eval_interval=100))
    list(plain.events())
    for changes in ({"sample_length": 7, "eval_interval": 2}, {"eval_interval": 1, "eval_windows": None}):
        watched = Trainer(trainable(dropout=dropout), corpus, quick(**changes))
        list(watched.events())
        assert_same_weights(watched.model, plain.model)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_pausing_does_not_change_what_is_learned(trainable, corpus, quick, dropout):
    """Two trainers asked in turn, other numbers drawn in between, the model switched to evaluation and read."""
    plain = Trainer(trainable(dropout=dropout), corpus, quick())
    list(plain.events())
    pair = [Trainer(trainable(dropout=dropout), corpus, quick()) for _ in range(2)]
    for events in zip(*(trainer.events() for trainer in pair), strict=True):
        assert events[0].train_loss == events[1].train_loss
        torch.randn(3)
        for trainer in pair:
            trainer.model.eval()
            trainer.model.generate(torch.zeros(1, 1, dtype=torch.long), max_new_tokens=2)
    for trainer in pair:
        assert_same_weights(trainer.model, plain.model)


def test_training_leaves_the_global_stream_as_it_was(trainable, corpus, quick):
    before = torch.get_rng_state()
    list(train(trainable(dropout=0.2), corpus, quick(sample_length=5)))
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_choose_batches_and_dropout(trainable, corpus, quick):
    digests = set()
    for seed in (1, 2):
        trainer = Trainer(trainable(), corpus, quick(seed=seed))
        list(trainer.events())
        digests.add(trainer.batches_digest)
    assert len(digests) == 2
    losses = []
    for seed in (1, 1, 2):
        model = trainable(dropout=0.5)
        trainer = Trainer(model, corpus, quick(seed=seed, max_steps=1))
        trainer.batches = [BatchStream(corpus.train_ids, 4, 16, seed=7)[0]]  # the same batch for all
        losses.append(list(trainer.events())[-1].train_loss)
    assert losses[0] == losses[1] != losses[2]


def test_dropout_differs_from_step_to_step(trainable, corpus, quick):
    """With rates of 0 and one batch again and again, only dropout can change the loss."""
    trainer = Trainer(trainable(dropout=0.5), corpus, quick(learning_rate=0, matrix_learning_rate=0, max_steps=3))
    trainer.batches = [BatchStream(corpus.train_ids, 4, 16, seed=7)[0]] * 3
    assert len({event.train_loss for event in trainer.events()}) == 1 + 3  # step 0 has none


def test_models_of_one_seed_see_the_same_batches(kind, trainable, corpus, quick):
    digests = []
    for name in ("gpt2", kind):
        trainer = Trainer(trainable(name), corpus, quick())
        list(trainer.events())
        digests.append(trainer.batches_digest)
    assert digests[0] == digests[1] != ""


def test_an_update_is_gradient_clipping_and_the_optimizers_step(trainable, corpus, quick):
    """AdamW's first update, by hand: each weight moves by the rate against its gradient's sign."""
    config = quick(
        matrix_learning_rate=None,
        learning_rate=3e-3,
        weight_decay=0.0,
        warmup_steps=0,
        decay_share=0.0,
        max_steps=1,
        precision="float32",
    )
    model, reference = trainable(), trainable()
    list(Trainer(model, corpus, config).events())
    inputs, targets = Trainer(trainable(), corpus, config).batches[0]
    reference(inputs, targets)[1].backward()
    torch.nn.utils.clip_grad_norm_(reference.parameters(), 1.0)
    for moved, still in zip(model.parameters(), reference.parameters(), strict=True):
        expected = still - 3e-3 * still.grad / (still.grad.abs() + 1e-8)
        assert torch.allclose(moved, expected, atol=1e-6)


# --- Events ---------------------------------------------------------------------------------------------------------


def test_events_tell_every_step(trainable, corpus, quick):
    config = quick(max_steps=7, eval_interval=3, sample_length=5, sample_prompt="T")
    events = list(train(trainable(), corpus, config))
    assert [event.step for event in events] == list(range(8))
    assert [event.step for event in events if event.validation_loss is not None] == [0, 3, 6, 7]
    assert [event.step for event in events if event.sample is not None] == [0, 3, 6, 7]
    assert all(len(event.sample) == 6 and event.sample[0] == "T" for event in events if event.sample)
    assert [event.tokens for event in events] == [step * 4 * 16 for step in range(8)]
    assert [event.train_loss is None for event in events] == [True] + [False] * 7
    assert [event.gradient_norm is None for event in events] == [True] + [False] * 7
    assert [event.step for event in events if event.validation_accuracy is not None] == [0, 3, 6, 7]
    assert all(before.seconds <= after.seconds for before, after in itertools.pairwise(events))
    assert all(event.tokens_per_second > 0 for event in events[1:])
    with pytest.raises(dataclasses.FrozenInstanceError):
        events[0].step = 3


def test_a_prompt_the_corpus_does_not_know_is_replaced(trainable, corpus, quick):
    events = list(train(trainable(), corpus, quick(max_steps=1, sample_length=5, sample_prompt="µ")))
    assert events[0].sample[0] == corpus.tokenizer.decode(corpus.validation_ids[:1].tolist())


def test_the_best_weights_are_kept(trainable, corpus, quick):
    """Half-way the weights are spoilt, so that the last evaluation is worse than an earlier one."""
    config = quick(max_steps=12)
    model, measured = trainable(), {}
    for event in train(model, corpus, config):
        if event.validation_loss is not None:
            measured[event.step] = event.validation_loss
        if event.step == 3:  # the model is about to be evaluated at step 4
            best = [parameter.detach().clone() for parameter in model.parameters()]
        if event.step == 4:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(torch.randn_like(parameter))
    assert min(measured, key=measured.get) == 4
    for parameter, kept in zip(model.parameters(), best, strict=True):
        assert torch.equal(parameter, kept)
    assert evaluate(model, corpus, most_windows=config.eval_windows) == measured[4]


@pytest.mark.parametrize("recipe", RESUMED)
def test_a_loss_that_is_no_number_stops_with_the_best_weights(trainable, corpus, quick, recipe):
    settings = {**RESUMED[recipe], "learning_rate": 1e9, "warmup_steps": 0, "max_steps": 200, "eval_interval": 1}
    if recipe == "fast":
        settings["matrix_learning_rate"] = 1e9
    model = trainable()
    trainer = Trainer(model, corpus, quick(**settings))
    with pytest.raises(TrainingDiverged, match=r"the loss became (nan|inf) after step \d+.*the weights of step \d+"):
        list(trainer.events())
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert evaluate(model, corpus, most_windows=4) == trainer.best_loss < math.inf


def test_a_loss_that_is_no_number_is_noticed_between_evaluations(trainable, corpus, quick):
    model = trainable()
    trainer = Trainer(model, corpus, quick(eval_interval=100))
    stream = trainer.events()
    for _ in range(3):
        next(stream)
    with torch.no_grad():
        model.final_norm.weight[0] = math.nan
    assert next(stream).step == 3  # what was measured before is told
    with pytest.raises(TrainingDiverged, match=r"the loss became nan after step 3; .* the weights of step 0"):
        next(stream)
    assert model.final_norm.weight.tolist() == [1.0] * 16


@pytest.mark.parametrize("gradient_clip", [0.0, 0.01, 100.0])
def test_the_norm_is_of_all_gradients_before_clipping(trainable, corpus, quick, gradient_clip):
    """The square root of the sum of the squares of every derivative, by hand, of the first two updates."""
    settings = {"precision": "float32", "gradient_accumulation_steps": 2, "gradient_clip": gradient_clip}
    trainer = Trainer(trainable(), corpus, quick(max_steps=2, **settings))
    expected, told = [], []
    events = trainer.events()
    for step in range(3):
        if step < 2:
            copy = trainable()
            copy.load_state_dict(trainer.model.state_dict())
            copy(*trainer.batches[step])[1].backward()
            expected.append(math.sqrt(sum((p.grad.double() ** 2).sum().item() for p in copy.parameters())))
        told.append(next(events).gradient_norm)
    assert told == [None, pytest.approx(expected[0], rel=1e-5), pytest.approx(expected[1], rel=1e-5)]


def test_a_norm_beyond_all_numbers_is_not_told(trainable, corpus, quick, monkeypatch):
    """What is told can be compared, and written as JSON that every program reads."""
    trainer = Trainer(trainable(), corpus, quick(max_steps=1))
    monkeypatch.setattr(trainer, "_clip_gradients", lambda: torch.tensor(math.inf))
    assert [event.gradient_norm for event in trainer.events()] == [None, None]


# --- Evaluation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [None, 3])
def test_evaluate_equals_a_plain_loop(kind, trainable, corpus, most):
    model = trainable(kind).eval()
    losses = []
    with torch.no_grad():
        for inputs, targets in validation_windows(corpus.validation_ids, 16, most):
            for row, following in zip(inputs, targets, strict=True):
                logits = model(row[None])[0]
                losses += [F.cross_entropy(logits[t], following[t]).item() for t in range(len(row))]
    assert evaluate(model, corpus, most_windows=most) == pytest.approx(sum(losses) / len(losses), rel=1e-5)


@pytest.mark.parametrize("averaging", [{}, {"ema_decay": 0.6}])
def test_the_accuracy_is_the_share_of_tokens_that_were_likeliest(trainable, corpus, quick, averaging):
    """By a loop over the evaluated windows, of the weights that are evaluated."""
    trainer = Trainer(trainable(), corpus, quick(max_steps=40, eval_interval=20, eval_windows=3, **averaging))
    measured = {event.step: event.validation_accuracy for event in trainer.events()}
    model = trainable().eval()
    model.load_weights(trainer.copy_of_weights())
    hits = []
    for inputs, targets in validation_windows(corpus.validation_ids, 16, 3):
        for row, following in zip(inputs.tolist(), targets.tolist(), strict=True):
            for t in range(len(row)):
                scores = model(torch.tensor([row]))[0, t].tolist()
                hits.append(scores.index(max(scores)) == following[t])
    assert measured[40] == pytest.approx(sum(hits) / len(hits))
    assert 0 < measured[40] < 1


def test_evaluate_is_deterministic_and_leaves_everything_alone(trainable, corpus):
    model = trainable(dropout=0.5).train()
    before = torch.get_rng_state()
    assert evaluate(model, corpus) == evaluate(model, corpus)
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in model.parameters())


# --- Refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"max_steps": 0}, ValueError, "max_steps is 0; give 1 or more"),
        ({"max_steps": 2.5}, TypeError, "max_steps is 2.5; give a whole number"),
        ({"batch_size": -1}, ValueError, "batch_size is -1; give 1 or more"),
        ({"eval_interval": 0}, ValueError, "eval_interval is 0; give 1 or more"),
        ({"eval_windows": 0}, ValueError, "eval_windows is 0; give 1 or more"),
        ({"seed": -1}, ValueError, "seed is -1; give 0 or more"),
        ({"learning_rate": -1e-3}, ValueError, "learning_rate is -0.001; give 0 or more"),
        ({"learning_rate": math.nan}, ValueError, "learning_rate is nan; give a finite number"),
        ({"matrix_learning_rate": math.inf}, ValueError, "matrix_learning_rate is inf; give a finite number"),
        ({"beta2": 1.5}, ValueError, "beta2 is 1.5; give 0 to 1"),
        ({"decay_share": -0.1}, ValueError, "decay_share is -0.1; give 0 to 1"),
        ({"schedule": "step"}, ValueError, "schedule is 'step'; choose one of linear, cosine"),
        ({"device": "tpu"}, ValueError, "device is 'tpu'; choose one of auto, cuda, mps, cpu"),
    ],
)
def test_settings_outside_what_is_allowed(changes, error, message):
    with pytest.raises(error, match=message):
        TrainConfig(**changes)


@pytest.mark.parametrize("name", ["beta1", "beta2"])
def test_a_beta_of_one_is_refused_before_a_model_is_made(name):
    """AdamW does not take 1, so a configuration must not either."""
    with pytest.raises(ValueError, match=f"{name} is 1"):
        TrainConfig(**{name: 1.0})


def test_defaults_are_reproducible():
    assert TrainConfig().seed == 1337
    assert TrainConfig() == TrainConfig()


def test_a_device_that_is_not_here_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="this machine has no cuda device; choose auto or cpu"):
        pick_device("cuda")


def test_auto_takes_the_fastest_device_there_is(monkeypatch):
    for cuda, mps, expected in ((True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
        assert pick_device().type == expected


def test_a_model_that_does_not_fit_the_corpus_is_refused(trainable, corpus, quick):
    with pytest.raises(
        ValueError, match=f"the model knows 5 tokens and the corpus 'tiny' has {corpus.tokenizer.vocab_size}"
    ):
        Trainer(trainable(vocab_size=5), corpus, quick())
    with pytest.raises(ValueError, match="a context of 2000 needs at least 2001"):
        Trainer(trainable(context_length=2000), corpus, quick())


# --- Ended in the middle of a step ----------------------------------------------------------------------------------


@pytest.mark.parametrize("questions", [1, 2, 3, 4, 5, 9])
def test_a_step_that_is_interrupted_leaves_no_trace(trainable, corpus, quick, questions):
    """The model has two blocks, each asked on the way there and back: the numbers are places in one step or two."""
    config = quick(max_steps=4, eval_interval=4)
    through = Trainer(trainable(), corpus, config)
    whole = list(through.events())
    trainer = Trainer(trainable(), corpus, config)
    stream = trainer.events()
    events = [next(stream), next(stream)]
    assert trainer.step == 2
    asked = itertools.count(1)
    wanted = iter([True])
    trainer.interrupt_when(lambda: next(asked) == questions and next(wanted))
    with pytest.raises(TrainingInterrupted):  # noqa: PT012
        for event in stream:
            events.append(event)
    again = Trainer(trainable(), corpus, config)
    again.load_state(trainer.state())
    assert all(parameter.grad is None for parameter in trainer.model.parameters())
    rest = list(again.events())
    assert rest[0].step == trainer.step
    for event in rest:  # one whose update was given up is told again, and the same
        events[event.step :] = [event]
    assert losses_of(events) == losses_of(whole)
    assert again.batches_digest == through.batches_digest
