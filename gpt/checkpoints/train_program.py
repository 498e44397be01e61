"""`python -m gpt train`: a training from the command line, in a checkpoint folder of its own."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from gpt.checkpoints.card import MOST_WINDOWS, is_read_whole
from gpt.checkpoints.files import weights_digest
from gpt.checkpoints.folder import settings_as_begun
from gpt.checkpoints.training_folder import continue_training, finish_training, measure_best, own_folder, saved_events
from gpt.checkpoints.upload import open_model
from gpt.costs.formulas import parameter_count
from gpt.data.corpora import CORPORA, load_corpus
from gpt.data.corpus import Corpus
from gpt.data.prepare import TOKENIZERS
from gpt.data.sources import is_read_once, text_name
from gpt.model.config import POSITIONS, VARIANTS, GPTConfig, changes_from_gpt2, make_config, variant_name
from gpt.model.gpt2 import GPT2
from gpt.training.distributed import PARALLEL
from gpt.training.evaluation import evaluate
from gpt.training.group import Group, noting_stops
from gpt.training.recipes import DEVICES, PRECISIONS, RECIPES, TrainConfig
from gpt.training.recording import Recording
from gpt.training.state import TrainEvent
from gpt.training.trainer import Trainer

Draw = Callable[[str, Sequence[TrainEvent], Corpus], None]  # of a finished training: its variant, history and text


def add_training_options(train: argparse.ArgumentParser) -> None:
    """Add the options of `python -m gpt train` to its parser; `run_training` takes what it makes of them."""
    left = argparse.SUPPRESS  # of what is left out here, `run_training` knows the default
    train.add_argument("--variant", default=left, help=f"one of {', '.join(VARIANTS)} (default: gpt2)")
    train.add_argument(
        "--corpus",
        default="shakespeare",
        help=f"one of {', '.join(CORPORA)}, or the path of a UTF-8 text file or of a prepared text, or - for stdin",
    )
    train.add_argument("--tokenizer", choices=TOKENIZERS, help="what a token is (default: a character)")
    train.add_argument("--vocab-size", type=int, default=1024, help="tokens that bpe learns from the text")
    train.add_argument("--out", required=True, type=Path, help="checkpoint folder to write or continue")
    train.add_argument(
        "--from",
        dest="begins_from",
        metavar="CHECKPOINT",
        help="begin from the weights of this checkpoint folder, or its zip file, instead of new ones; the model's "
        "shape is then the checkpoint's",
    )
    train.add_argument("--chart", type=Path, help="also draw the losses into this .png or .svg file")
    train.add_argument("--recipe", default="fast", choices=RECIPES, help="settings that the options below override")
    model = train.add_argument_group("the model")
    for option, kind, meaning, default in (
        ("--num-layers", int, "blocks", "4"),
        ("--num-heads", int, "query heads in each", "4"),
        ("--embed-size", int, "width", "128"),
        ("--context-length", int, "tokens that it can look back on", "64"),
        ("--window-size", int, "keys a query may see", "the variant's"),
        ("--num-kv-heads", int, "key/value heads", "the variant's"),
        ("--dropout", float, "share of activations dropped in training", "0"),
    ):
        model.add_argument(option, type=kind, default=left, help=f"{meaning} (default: {default})")
    model.add_argument("--positions", choices=POSITIONS, default=left, help="their kind (default: the variant's)")
    model.add_argument(
        "--no-causal-mask",
        dest="causal",
        action="store_false",
        default=left,
        help="take the causal mask away, so that the model sees the future",
    )
    training = train.add_argument_group("the training (default: the recipe's)")
    defaults = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    for option, name, kind, meaning in (
        ("--steps", "max_steps", int, "updates"),
        ("--batch-size", "batch_size", int, "rows in a batch"),
        ("--learning-rate", "learning_rate", float, "rate of AdamW"),
        ("--matrix-learning-rate", "matrix_learning_rate", float, "rate of Muon"),
        ("--weight-decay", "weight_decay", float, "pull towards zero"),
        ("--gradient-accumulation-steps", "gradient_accumulation_steps", int, "parts of a batch, to save memory"),
        ("--eval-interval", "eval_interval", int, "updates between evaluations, each followed by a save"),
        ("--seed", "seed", int, "of weights, batches and samples"),
    ):
        training.add_argument(
            option, dest=name, type=kind, default=argparse.SUPPRESS, help=f"{meaning} (fast: {defaults[name]})"
        )
    training.add_argument("--precision", choices=PRECISIONS, default=argparse.SUPPRESS, help="of linear layers")
    training.add_argument(
        "--checkpoint-activations",
        action="store_true",
        default=argparse.SUPPRESS,
        help="compute each block again in the backward pass, to save memory",
    )
    training.add_argument(
        "--snapshots", type=int, nargs="+", default=(), metavar="STEP", help="steps to keep weights of"
    )
    training.add_argument(
        "--final",
        action="store_true",
        help="when done, save in half precision, with the result on the card and without what is needed to continue",
    )
    training.add_argument("--device", choices=DEVICES, default="auto", help="where to compute")
    training.add_argument(
        "--parallel",
        choices=PARALLEL,
        help="how the processes that torchrun has started share the work: each holds the whole model (ddp) or a part "
        "of it (fsdp) (default: ddp for several processes)",
    )


def run_training(options: argparse.Namespace, group: Group, draw: Draw | None = None) -> int:
    """Train as `python -m gpt train` was asked to, or go on with what was begun; returns the exit status.

    Each process of a group that trains together makes the same call.

    Args:
        options: as the command line has them.
        group: the processes.
        draw: makes a picture at the end, where this process is to make one.

    Raises:
        ValueError, OSError, CorpusUnavailable: what was asked for cannot be done; the message says why.
        TrainingDiverged: the loss is no longer a number.
    """
    train_config = _train_config(options, group)
    with own_folder(options.out, group):
        return _train_together(options, settings_as_begun(options.out, train_config), group, draw)


def _train_config(options: argparse.Namespace, group: Group) -> TrainConfig:
    """The settings of a training; what is wrong with its options is said before any work."""
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    chosen = {name: value for name, value in vars(options).items() if name in names}
    train_config = TrainConfig(**(RECIPES[options.recipe] | chosen))
    if _variant(options) not in VARIANTS:
        raise ValueError(f"there is no variant {_variant(options)!r}; choose one of {', '.join(VARIANTS)}")
    if options.begins_from is not None and options.tokenizer is not None:
        raise ValueError("--tokenizer does not go with --from: the tokens are those of the model to begin from")
    if group.size > 1 and is_read_once(options.corpus):
        raise ValueError(f"{options.corpus} can be read once, and here are {group.size} processes; give a text file")
    return train_config


def _train_together(options: argparse.Namespace, train_config: TrainConfig, group: Group, draw: Draw | None) -> int:
    corpus = load_corpus(options.corpus, options.vocab_size if options.tokenizer == "bpe" else None)
    begins_from = None
    if options.begins_from is None:
        model = _new_model(options, corpus, train_config.seed)
    else:
        model, tokenizer = open_model(options.begins_from)
        _check_shape(options, model.config)
        corpus = corpus.written_with(tokenizer)
        begins_from = {"name": text_name(options.begins_from), "sha256": weights_digest(dict(model.named_parameters()))}
    variant = variant_name(model.config) if begins_from else _variant(options)
    trainer = Trainer(model, corpus, train_config, group, lambda step: step in options.snapshots)
    recording = Recording(trainer, begins_from)
    if continue_training(options.out, recording):
        print(f"continuing {options.out} after step {trainer.step:,}")
    parameters, changes = parameter_count(model.config), ", ".join(changes_from_gpt2(model.config)) or "none"
    begun = f"; begins from {begins_from['name']}" if begins_from else ""
    print(f"{variant}: {parameters:,} parameters; changes from GPT-2: {changes}; corpus {corpus.name}{begun}")
    with noting_stops(group):
        _show(saved_events(options.out, recording), trainer)
        if group.agreed_signal is not None:
            print(f"saved in {options.out} after step {trainer.step:,}; the same command goes on from there")
            return 128 + group.agreed_signal
    if options.final:
        loss = finish_training(options.out, recording, f"python -m gpt {shlex.join(options.given)}")
    else:
        loss = measure_best(recording, lambda best: evaluate(best, corpus, most_windows=MOST_WINDOWS))
    is_whole = is_read_whole(corpus, model.config)
    extent = "the whole validation text" if is_whole else f"{MOST_WINDOWS:,} windows of the validation text"
    print(
        f"best validation loss {trainer.best_loss:.3f} at step {trainer.best_step:,}; over {extent} "
        f"{corpus.loss_in_words(loss)}; saved in {options.out}"
    )
    if draw is not None:
        draw(variant, recording.history, corpus)
    return 0


def _show(events: Iterable[TrainEvent], trainer: Trainer) -> None:
    """Print the losses of a training at its evaluations, and how far it is."""
    steps = trainer.config.max_steps
    with tqdm(total=steps, initial=trainer.step, unit="step", smoothing=0.1, disable=not trainer.group.is_first) as bar:
        for event in events:
            bar.update(event.step - bar.n)
            if event.validation_loss is not None:
                train_loss = "" if event.train_loss is None else f"train {event.train_loss:.3f}, "
                validation = trainer.corpus.loss_in_words(event.validation_loss)
                bar.write(f"step {event.step:,}: {train_loss}validation {validation}")
                bar.set_postfix_str(f"{event.tokens_per_second:,.0f} tokens/s")


# --- The model that is trained ----------------------------------------------------------------------------------------

_SIZE = {"embed_size": 128, "num_heads": 4, "num_layers": 4, "context_length": 64}  # where no other is chosen
_CHOICES = (*_SIZE, "window_size", "num_kv_heads", "positions", "dropout", "causal")


def _variant(options: argparse.Namespace) -> str:
    return str(vars(options).get("variant", "gpt2"))


def _chosen(options: argparse.Namespace) -> dict[str, Any]:
    """What was said of the model's shape."""
    return {name: value for name, value in vars(options).items() if name in _CHOICES}


def _new_model(options: argparse.Namespace, corpus: Corpus, seed: int) -> GPT2:
    config = make_config(_variant(options), corpus.tokenizer.vocab_size, **(_SIZE | _chosen(options)))
    model = GPT2.from_config(config)
    model.initialize(seed)
    return model


def _check_shape(options: argparse.Namespace, config: GPTConfig) -> None:
    """Refuse to begin from a model of another shape than was asked for."""
    shape = {name: getattr(config, name) for name in _CHOICES}
    shape |= {"num_kv_heads": config.kv_heads, "variant": variant_name(config)}
    asked = _chosen(options) | ({"variant": options.variant} if "variant" in options else {})
    for name, value in asked.items():
        if value != shape[name]:
            option = "--no-causal-mask" if name == "causal" else f"--{name.replace('_', '-')} {value}"
            raise ValueError(
                f"{option} does not fit the model to begin from ({name} {shape[name]}), which stays what it is; leave "
                f"this option out, or leave out --from to train a new model"
            )
