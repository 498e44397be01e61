"""What a run looks like: the values of the loss chart and of the panel under it, and nothing else."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from gpt.checkpoints.record import Record
from gpt.costs.formulas import flops_per_token, parameter_count
from gpt.data.tokenizer import CharTokenizer
from gpt.model.config import GPTConfig, changes_from_gpt2, variant_name
from gpt.runs.run import Member, Run
from gpt.runs.scheduler import Runs
from gpt.training.recipes import TrainConfig
from gpt.training.state import TrainEvent, best_event
from gpt.ui.components.loss_chart import loss_chart_value
from gpt.ui.naming import member_label, named
from gpt.ui.theme import variant_style

if TYPE_CHECKING:
    from gpt.data.corpus import Corpus
    from gpt.ui.catalogue import Catalogue

_MOST_POINTS = 600  # training losses drawn of one curve; the rest are left out evenly
_NOT_YOUR_TEXT = "What its models write is shown only to those whose text or model it learns from."
_NANOGPT_LOSS = 1.88  # of its CPU recipe on Tiny Shakespeare (4 layers, 128 wide, context 64), from its README
_EMPTY = "Press Train: the loss of each variant will be drawn here, step by step."


def run_chart(run: Run, name: str = "") -> dict[str, Any]:
    """The loss chart of a run as it is now; with several seeds, a curve is their mean and its band their spread.

    Args:
        run: the run.
        name: what it is called on the page.
    """
    training = run.request.training
    styles = _styles(run)
    series = [
        _mean_curve([_curve(named(name, label), member.config, list(member.events), training) for member in members])
        | styles[label]
        for label, members in _by_label(run).items()
    ]
    corpus = run.corpus
    return loss_chart_value(series, references(corpus), training.max_steps, _EMPTY, corpus.tokens_per_character)


def _by_label(run: Run) -> dict[str, list[Member]]:
    """A run's members by their label, each with its seeds."""
    grouped: dict[str, list[Member]] = {}
    for member in run.members:
        grouped.setdefault(member.label, []).append(member)
    return grouped


def _styles(run: Run) -> dict[str, dict[str, str]]:
    """Colour and dash by label; models of one variant, or of none, share a colour and differ in their dashes."""
    styles = {}
    before: Counter[str] = Counter()
    for label, members in _by_label(run).items():
        variant = variant_name(members[0].config)
        styles[label] = variant_style(variant, before[variant])
        before[variant] += 1
    return styles


def _mean_curve(curves: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Several seeds of one model as one curve: means over the steps that all have reached, and their spread."""
    if len(curves) == 1:
        return curves[0]
    mean: dict[str, Any] = dict(curves[0])
    for name in ("steps", "seconds", "losses", "validation_steps", "validation_seconds", "validation_losses"):
        mean[name] = [statistics.fmean(values) for values in zip(*(curve[name] for curve in curves), strict=False)]
    reached = zip(*(curve["validation_losses"] for curve in curves), strict=False)
    mean["validation_spreads"] = [statistics.stdev(values) for values in reached]
    return mean


def shipped_view(catalogue: Catalogue) -> tuple[dict[str, Any], dict[str, Any]]:
    """The chart and the panel before anything is trained: how the shipped models learned."""
    records = {name: catalogue.record(name) for name in catalogue.shipped}
    return shipped_chart(records), shipped_panel(records)


def shipped_chart(records: dict[str, Record]) -> dict[str, Any]:
    """The loss chart of the models that ship with the lab: what there is to see before anything is trained."""
    series = [
        _curve(name, record.config, record.history, record.train_config)
        for name, record in records.items()
        if record.history and record.train_config is not None
    ]
    vocabularies = {record.config.vocab_size for record in records.values()}
    lines = [_uniform(vocabularies.pop())] if len(vocabularies) == 1 else []
    steps = [record.history[-1].step for record in records.values() if record.history]
    units = {_tokens_per_character(record) for record in records.values()}
    return loss_chart_value(series, lines, max(steps, default=1), _EMPTY, units.pop() if len(units) == 1 else None)


def _tokens_per_character(record: Record) -> float | None:
    """Of the text that a model was tested on, which is not here: known where a token is a character."""
    return 1.0 if isinstance(record.tokenizer, CharTokenizer) else None


def shipped_panel(records: dict[str, Record]) -> dict[str, Any]:
    """The panel under `shipped_chart`."""
    models = [_model_view(name, record.config, record.history) for name, record in records.items() if record.history]
    sentence = "How the models that ship with the lab learned. Press Train to watch your own." if models else _EMPTY
    value = {"sentence": sentence, "is_error": False, "state": "", "share": None, "run": "", "version": 0}
    return value | {"models": models, "proof": []}


def run_panel_value(run: Run, runs: Runs, name: str = "", *, may_read: bool = True) -> dict[str, Any]:
    """The panel under a run's chart, as it is now.

    Args:
        run: the run.
        runs: all of them, for its place in the queue.
        name: what it is called on the page.
        may_read: whether what its models write is shown: they may have learned it by heart from somebody's own text.
    """
    styles = _styles(run)
    tokens = run.corpus.tokens_per_character
    version = run.version  # before the rest, so that a page never takes itself to be newer than it is
    return {
        "sentence": run_sentence(run, runs) if may_read else f"{run_sentence(run, runs).rstrip('.')}. {_NOT_YOUR_TEXT}",
        "may_read": may_read,
        "is_error": run.state == "failed",
        "state": str(run.state),
        "share": run.step / run.request.training.max_steps,
        "run": run.key,
        "version": version,
        "models": [
            _model_view(
                named(name, label),
                members[0].config,
                *(list(member.events) for member in members),
                tokens_per_character=tokens,
            )
            | styles[label]
            | ({} if may_read else {"samples": []})
            for label, members in _by_label(run).items()
        ],
        "proof": _proof(run),
        "settings": _settings(run, may_read=may_read),
        "next_sample": _next_sample(run) if may_read else None,
        "predicts": "token" if run.corpus.tokenizer_sha256 else "character",
    }


def _next_sample(run: Run) -> int | None:
    """The step at which the models write next: at each evaluation, of which one is the last. None if there is none."""
    if run.state not in ("waiting", "running", "paused") or run.is_at_end:
        return None
    if not any(event.sample is not None for member in run.members for event in member.events):
        return 0
    training = run.request.training
    return min(training.max_steps, (run.told_step // training.eval_interval + 1) * training.eval_interval)


def _settings(run: Run, *, may_read: bool) -> list[list[str]]:
    """What a run was set to, as [name, value], for whoever reads it later or on paper."""
    training, config = run.request.training, run.members[0].config
    tokens = "byte pairs" if run.corpus.tokenizer_sha256 else "characters"
    optimizer = "AdamW" if training.matrix_learning_rate is None else "Muon and AdamW"
    seeds = f"{training.seed}" if run.request.seeds == 1 else f"{training.seed} and the next {run.request.seeds - 1}"
    return [
        *([["text", run.corpus.name]] if may_read else []),
        ["tokens", f"{config.vocab_size} {tokens}"],
        ["size", f"{config.num_layers} layers, {config.embed_size} wide, {config.num_heads} heads"],
        ["context", f"{config.context_length} tokens"],
        ["steps", f"{training.max_steps:,}"],
        ["batch size", f"{training.batch_size}"],
        ["optimizer", optimizer],
        ["learning rate", f"{training.learning_rate:g}"],
        ["seed", seeds],
    ]


def run_sentence(run: Run, runs: Runs) -> str:
    """Where a run is, in one sentence, and from which model it goes on."""
    sentence, origin = _progress(run, runs), run.request.origin
    if origin is None:
        return sentence
    from_model = f"oes on from {origin['name']}"
    return f"{sentence} G{from_model}." if sentence.endswith((".", "…")) else f"{sentence} · g{from_model}"


def _progress(run: Run, runs: Runs) -> str:
    steps = run.request.training.max_steps
    if run.state == "waiting":
        place, seconds = runs.place_in_queue(run)
        if place == 0:
            return "Starting…"
        about = "" if seconds is None else f", about {_duration(5 * math.ceil(seconds / 5))}"
        return f"In the queue: {_ordinal(place)}{about}."
    progress = f"step {run.step:,} of {steps:,}"
    if run.state == "running":
        tokens_per_second, seconds_left = _pace(run)
        if not tokens_per_second:
            return f"{progress} · measuring the speed"
        return f"{progress} · {tokens_per_second:,.0f} tokens/s · {_duration(seconds_left)} left"
    if run.state == "done":
        together = ", all models together" if len(run.members) > 1 else ""
        return f"Done: {steps:,} steps, {run.seconds:,.0f} s of training{together}."
    message = run.message or "Paused."
    return f"{message} {progress[0].upper()}{progress[1:]}."


def _duration(seconds: float) -> str:
    """Seconds up to two minutes, then minutes."""
    return f"{seconds:,.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"


def _ordinal(place: int) -> str:
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(place % 10 if place % 100 not in (11, 12, 13) else 0, "th")
    return f"{place}{suffix}"


def _pace(run: Run) -> tuple[float, float]:
    """Tokens per second of the whole run, and seconds left at that rate."""
    seconds_per_step = run.seconds_per_step()
    if seconds_per_step is None:
        return 0.0, math.inf
    per_step = sum(run.request.training.batch_size * member.config.context_length for member in run.members)
    return per_step / seconds_per_step, (run.goal - run.step) * seconds_per_step


def references(corpus: Corpus) -> list[dict[str, Any]]:
    """Losses to compare with: guessing blindly, knowing only which token follows which, and a published one.

    They are in nats per token; the published one, which was measured in characters, as so many tokens have it.
    """
    lines = [_uniform(corpus.tokenizer.vocab_size)]
    if corpus.bigram_loss is not None:
        lines.append({"label": "bigram model", "loss": corpus.bigram_loss})
    if corpus.name == "shakespeare":
        lines.append({"label": "nanoGPT's CPU recipe", "loss": _NANOGPT_LOSS / corpus.tokens_per_character})
    return lines


def _uniform(vocab_size: int) -> dict[str, Any]:
    return {"label": "uniform guessing", "loss": math.log(vocab_size)}


def _curve(label: str, config: GPTConfig, events: Sequence[TrainEvent], training: TrainConfig) -> dict[str, Any]:
    stride = math.ceil(training.max_steps / _MOST_POINTS)
    learned = [event for event in events if event.train_loss is not None and event.step % stride == 0]
    evaluated = [event for event in events if event.validation_loss is not None]
    return {
        "label": label,
        **variant_style(variant_name(config)),
        "changes": ", ".join(changes_from_gpt2(config)) or "as published",
        "tokens_per_step": training.batch_size * config.context_length,
        "steps": [event.step for event in learned],
        "seconds": [event.seconds for event in learned],
        "losses": [event.train_loss for event in learned],
        "validation_steps": [event.step for event in evaluated],
        "validation_seconds": [event.seconds for event in evaluated],
        "validation_losses": [event.validation_loss for event in evaluated],
    }


def _model_view(
    label: str, config: GPTConfig, *histories: Sequence[TrainEvent], tokens_per_character: float = 1.0
) -> dict[str, Any]:
    """A model's samples and measurements; with several seeds, the samples are the first one's."""
    last = [events[-1] for events in histories if events]
    bits = _best_loss(histories, tokens_per_character / math.log(2))
    milliseconds = [1000 * event.seconds / event.step for event in last if event.step]
    speeds = [event.tokens / event.seconds for event in last if event.seconds]
    facts = [
        ["best validation loss", _best_loss(histories)],
        *([] if tokens_per_character == 1 else [["bits per character", bits]]),
        ["parameters", f"{parameter_count(config):,}"],
        ["FLOPs per token", f"{flops_per_token(config) / 1e6:.2f} M"],
        ["ms per step", f"{statistics.fmean(milliseconds):,.0f}" if milliseconds else "–"],
        ["tokens/s, on average", f"{statistics.fmean(speeds):,.0f}" if speeds else "–"],
        ["seconds", f"{statistics.fmean(event.seconds for event in last):,.0f}" if last else "–"],
    ]
    samples = [[event.step, event.sample] for event in (histories[0] if histories else ()) if event.sample is not None]
    return {"label": label, **variant_style(variant_name(config)), "samples": samples, "facts": facts}


def _best_loss(histories: Sequence[Sequence[TrainEvent]], unit: float = 1.0) -> str:
    """The lowest validation loss with its spread: over seeds if there are several, else over validation windows.

    Both are multiplied by `unit`, which takes them from nats per token to another unit.
    """
    best = [event for events in histories if (event := best_event(events)) is not None]
    if not best:
        return "–"
    mean = statistics.fmean(event.validation_loss or math.nan for event in best)
    spread = statistics.stdev(event.validation_loss or math.nan for event in best) if len(best) > 1 else None
    error = spread if spread is not None else best[0].validation_error
    return f"{unit * mean:.3f}" if error is None else f"{unit * mean:.3f} ± {unit * error:.3f}"


def _proof(run: Run) -> list[list[str]]:
    """What was equal in this run: the batches each model saw, and the tensors they started from."""
    lines = []
    for member, batches in zip(run.members, run.batches_digests(), strict=True):
        if batches:
            step = member.events[-1].step if member.events else 0
            lines.append(
                [
                    member_label(run, member),
                    f"batches to step {step:,}: {batches} · shared tensors: {member.shared_digest}",
                ]
            )
    return lines


# --- Diagnostics ----------------------------------------------------------------------------------------------------


def diagnostics_view(run: Run, told: int = -1) -> dict[str, Any]:
    """What the diagnostics draw of a run beyond what a page has been told: gradient norms and accuracies.

    Args:
        run: the run.
        told: the last step that the page knows of, as "told" said in the answer before; -1 for all.

    Returns:
        "run", "max_steps" and "clip" (what gradients are cut to, 0 for nothing); "since" and "told", the steps after
        and up to which this tells; "series", a curve for each label with "steps" and "norms", "evaluated" and "shares",
        means over its seeds; and "models", the name of each model and the steps at which its heads can be looked at.
    """
    reached = run.told_step
    since = told if -1 <= told <= reached else -1  # a page that knows more has seen it before it began again
    styles, training = _styles(run), run.request.training
    stride = math.ceil(training.max_steps / _MOST_POINTS)
    series = []
    for label, members in _by_label(run).items():
        moments = list(zip(*(member.events[since + 1 : reached + 1] for member in members), strict=True))
        learned = [events for events in moments if events[0].step and events[0].step % stride == 0]
        evaluated = [events for events in moments if events[0].validation_loss is not None]
        curve = {
            "steps": [events[0].step for events in learned],
            "norms": [_mean(event.gradient_norm for event in events) for events in learned],
            "evaluated": [events[0].step for events in evaluated],
            "shares": [_mean(event.validation_accuracy for event in events) for events in evaluated],
        }
        series.append({"label": label, **styles[label], **curve})
    return {
        "run": run.key,
        "max_steps": training.max_steps,
        "clip": training.gradient_clip,
        "since": since,
        "told": reached,
        "series": series,
        "models": [{"label": member_label(run, member), "kept": member.kept_steps} for member in run.members],
    }


def _mean(numbers: Iterable[float | None]) -> float | None:
    """The mean of numbers to four digits; None where one is not known."""
    known = list(numbers)
    return None if None in known else float(f"{statistics.fmean(number for number in known if number is not None):.4g}")
