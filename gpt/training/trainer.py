"""Training, as a stream of events: a command line prints them, a run stores them, a test lists them."""

from __future__ import annotations

import hashlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from gpt.data.batches import BatchStream
from gpt.data.corpus import Corpus
from gpt.model.gpt2 import GPT2
from gpt.model.seeds import derived_seed
from gpt.training.devices import learns_in_bfloat16, pick_device, seeded_dropout
from gpt.training.evaluation import accuracy, mean_and_error, sample, token_scores
from gpt.training.group import Group
from gpt.training.optimizers import build_optimizers
from gpt.training.recipes import TrainConfig, rate_factor
from gpt.training.state import TrainEvent, TrainingState


class TrainingInterrupted(RuntimeError):
    """A step, an evaluation or a sample was given up, of which nothing remains; see `Trainer.interrupt_when`."""


class TrainingDiverged(RuntimeError):
    """The loss is no longer a number. The model has its best weights back; the message says what to change."""


def train(model: GPT2, corpus: Corpus, config: TrainConfig) -> Iterator[TrainEvent]:
    """Train a model and yield what happens, step by step; not asking for the next event is a pause.

    With each event but the last the model has already learned from the batch after it (see `Trainer.events`).
    Afterwards it holds the weights of its best evaluation.

    Raises:
        ValueError: the model does not fit the corpus, the corpus is too short, or the batch cannot be cut as asked.
        TrainingDiverged: the loss became infinite or not a number.
    """
    trainer = Trainer(model, corpus, config)
    yield from trainer.events()
    trainer.restore_best()


class Trainer:
    """The training of one model, which can be saved at any moment and restored.

    `events()` is the training itself. Its state is always "about to evaluate `step`": an evaluation changes nothing but
    the best weights, and the same ones again if it is made again; an update is made as a whole. So from whatever
    `state()` gives, at any moment, `load_state()` goes on bit for bit as if nothing had happened (at the same number of
    threads), beginning with the event of that step.

    Several processes train one model together where each has a trainer of the same arguments and its place in their
    `Group`; all trainers tell the same losses, and `state()` may hold a part only of each tensor.

    Attributes:
        group: the processes that train this model; by default a process alone.
        step, tokens, seconds: how far it has come.
        best_loss, best_step: the lowest validation loss so far, and when.
        best_weights: the weights that had it, by name.
        average: the running average of the weights, by name; None without `ema_decay`.
        snapshots: step -> whole weights on the CPU, by name, for each step so far that `is_snapshot_step` names.
        batches_digest: of all batches learned from so far, in their order; equal for runs that saw the same.
    """

    def __init__(
        self,
        model: GPT2,
        corpus: Corpus,
        config: TrainConfig,
        group: Group | None = None,
        is_snapshot_step: Callable[[int], bool] = lambda step: False,
    ) -> None:
        if model.config.vocab_size != corpus.tokenizer.vocab_size:
            raise ValueError(
                f"the model knows {model.config.vocab_size} tokens and the corpus {corpus.name!r} has "
                f"{corpus.tokenizer.vocab_size}; make the model with vocab_size={corpus.tokenizer.vocab_size}"
            )
        self.group = group or Group()
        parts = self.group.size * config.gradient_accumulation_steps
        if config.batch_size % parts:
            raise ValueError(
                f"a batch of {config.batch_size} rows cannot be cut into {parts} equal parts (processes x "
                f"gradient_accumulation_steps = {self.group.size} x {config.gradient_accumulation_steps}); "
                f"give a batch_size that is a multiple of {parts}"
            )
        self.model = model
        self.model.checkpoint_activations = config.checkpoint_activations
        self._learner = self.group.place(model, pick_device(config.device))
        self.corpus = corpus
        self.config = config
        self.batches = BatchStream(
            corpus.train_ids,
            config.batch_size,
            model.config.context_length,
            config.seed,
            config.batch_order,
            corpus.tokenizer.vocab_size,
        )
        self._in_bfloat16 = learns_in_bfloat16(config, self.model.device)
        precision = torch.bfloat16 if self._in_bfloat16 else torch.float32
        self.optimizers = build_optimizers(model, config, precision, self.group)
        self._is_interruption_wanted: Callable[[], bool] = lambda: self.group.stop_requested
        self.step = 0
        self.tokens = 0
        self.seconds = 0.0
        self.best_loss = math.inf
        self.best_step = 0
        self.average = None if config.ema_decay == 0 else self._copy_of_present_weights()
        self.best_weights = self.copy_of_weights()
        self.batches_digest = ""
        self.snapshots: dict[int, dict[str, Tensor]] = {}
        self._is_snapshot_step = is_snapshot_step
        self._train_loss: float | None = None
        self._learning_rate = 0.0
        self._gradient_norm: float | None = None
        self._recent_seconds: deque[float] = deque(maxlen=20)  # of the last updates

    def events(self) -> Iterator[TrainEvent]:
        """Train to `max_steps`: evaluate where that is due, make the next update, and give the event of before it.

        So between two events the state is about to evaluate the next step. Not asking for the next event is a pause.

        Raises:
            TrainingDiverged: the loss became infinite or not a number.
            TrainingInterrupted: see `interrupt_when`.
        """
        while True:
            is_last = self.step >= self.config.max_steps
            is_due = is_last or self.step % self.config.eval_interval == 0
            event = self._evaluated_event() if is_due else self._event()
            if self._is_snapshot_step(self.step):
                self.snapshots[self.step] = self._whole_weights()
            if is_last:
                yield event
                return
            try:
                self._update()
            except TrainingInterrupted:
                yield event  # what was measured is told all the same
                raise
            except TrainingDiverged:
                yield event
                self.restore_best()  # not before: whoever saves at this event saves what the training goes on from
                raise
            yield event

    def interrupt_when(self, is_wanted: Callable[[], bool]) -> None:
        """Ask, within a step, an evaluation or a sample, whether to give it up: TrainingInterrupted is then raised.

        It is asked after each block of the model, on the way back, and between two tokens, but not once weights have
        begun to move. So the state stays that of before. By default it is asked whether the group is to stop.
        """
        self._is_interruption_wanted = is_wanted

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Where the model is called within this block, it may be interrupted; elsewhere it has no hooks."""

        def ask(*_: Any) -> None:
            self._give_up_if_wanted()

        def ask_both_ways(_module: Any, _inputs: Any, output: Tensor) -> None:
            ask()
            if output.requires_grad:
                output.register_hook(ask)

        hooks = [block.register_forward_hook(ask_both_ways) for block in self.model.blocks]
        try:
            yield
        except TrainingInterrupted:
            self.model.zero_grad(set_to_none=True)
            raise
        finally:
            for hook in hooks:
                hook.remove()

    def _give_up_if_wanted(self) -> None:
        if self._is_interruption_wanted():
            raise TrainingInterrupted("the training was interrupted within a step, of which nothing remains")

    @property
    def _tokens_per_step(self) -> int:
        return self.config.batch_size * self.model.config.context_length

    def _update(self) -> None:
        """Learn from the next batch, or raise and leave everything as it was."""
        started = time.perf_counter()
        inputs, targets = self.batches[self.step]
        self.model.train()
        with self._dropout_stream(), self._interruptible():
            loss = self._learn(self.group.rows(inputs), self.group.rows(targets))
            norm = self._clip_gradients()
            train_loss = self.group.mean(loss)  # only now this process waits for the device
        if not math.isfinite(train_loss):
            self.model.zero_grad(set_to_none=True)
            raise self._divergence(train_loss)
        gradient_norm = norm.item()
        factor = rate_factor(self.step, self.config)
        for optimizer in self.optimizers:  # from here on nobody asks whether to give up
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens += self._tokens_per_step
        self.batches_digest = _chained_digest(self.batches_digest, inputs)
        self._follow_with_average()
        self._train_loss, self._learning_rate = train_loss, self.config.learning_rate * factor
        self._gradient_norm = gradient_norm if math.isfinite(gradient_norm) else None
        self._recent_seconds.append(time.perf_counter() - started)
        self.seconds += self._recent_seconds[-1]

    def _learn(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Add up the gradients of the mean loss of some rows, part by part; returns that loss."""
        device, parts = self.model.device, self.config.gradient_accumulation_steps
        total = torch.zeros((), device=device)
        pairs = zip(inputs.chunk(parts), targets.chunk(parts), strict=True)
        for number, (some, following) in enumerate(pairs, start=1):
            with self.group.gradients(self._learner, are_complete=number == parts):
                with self._autocast():
                    _, loss = self._learner(some.to(device), following.to(device))
                loss = loss / parts
                loss.backward()
            total += loss.detach()
        return total

    def _clip_gradients(self) -> Tensor:
        """Clip the gradients where that is asked for; returns their norm before, a tensor of no dimensions."""
        parameters = list(self.model.parameters())
        if self.config.gradient_clip:
            norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.gradient_clip)
        else:
            norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        return self.group.whole(norm)

    def _autocast(self) -> torch.autocast:
        """Linear layers in bfloat16 where that was chosen; attention and the rest choose for themselves."""
        kind = self.model.device.type
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=self._in_bfloat16)

    @torch.no_grad()
    def _follow_with_average(self) -> None:
        """Move the average towards the present weights; at first by more, so that it forgets how it started."""
        if self.average is not None:
            kept = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
            for name, parameter in self.model.named_parameters():
                self.average[name].lerp_(parameter, 1 - kept)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The model has its average weights, where it has an average, until the end of the block."""
        if self.average is None:
            yield
            return
        present = self._copy_of_present_weights()
        self.model.load_weights(self.average)
        try:
            yield
        finally:
            self.model.load_weights(present)

    def _dropout_stream(self) -> AbstractContextManager[None]:
        """A random stream for each step and process, so that a restored run needs no memory of it."""
        if self.model.config.dropout == 0:
            return nullcontext()
        seed = derived_seed(self.config.seed, "dropout", self.step, *self.group.stream)
        return seeded_dropout(self.model.device, seed)

    def _evaluated_event(self) -> TrainEvent:
        """Evaluate the present step, and keep its weights if they are the best so far."""
        with self._averaged():
            loss, error, share, sample = self.group.ask_first(self.model, self._look)
        if not math.isfinite(loss):
            self.restore_best()
            raise self._divergence(loss)
        if loss < self.best_loss:
            weights = self.copy_of_weights()
            self.best_loss, self.best_step, self.best_weights = loss, self.step, weights
        return self._event(loss, error, share, sample)

    def _event(
        self,
        validation_loss: float | None = None,
        validation_error: float | None = None,
        validation_accuracy: float | None = None,
        sample: str | None = None,
    ) -> TrainEvent:
        return TrainEvent(
            step=self.step,
            tokens=self.tokens,
            seconds=self.seconds,
            train_loss=self._train_loss,
            validation_loss=validation_loss,
            validation_error=validation_error,
            learning_rate=self._learning_rate,
            tokens_per_second=self._tokens_per_second(),
            sample=sample,
            gradient_norm=self._gradient_norm,
            validation_accuracy=validation_accuracy,
        )

    def _tokens_per_second(self) -> float:
        """Over the last few updates; right after a restoration over all, and 0 before the first."""
        if self._recent_seconds:
            return self._tokens_per_step * len(self._recent_seconds) / sum(self._recent_seconds)
        return self.tokens / self.seconds if self.seconds else 0.0

    def _look(self, model: GPT2) -> tuple[float, float, float, str | None]:
        """A model's validation loss, its standard error, its accuracy, and what it writes if the loss is a number."""
        with self._interruptible():
            losses, hits = token_scores(model, self.corpus.validation_ids, most_windows=self.config.eval_windows)
        mean, error = mean_and_error(losses)
        is_sampled = math.isfinite(mean) and self.config.sample_length
        written = sample(model, self.corpus, self.config, self._give_up_if_wanted) if is_sampled else None
        return mean, error, accuracy(hits), written

    def _divergence(self, loss: float) -> TrainingDiverged:
        return TrainingDiverged(
            f"the loss became {loss} after step {self.step}; training has stopped, and the weights of step "
            f"{self.best_step} (validation loss {self.best_loss:.3f}) are kept; try a lower learning rate"
        )

    def copy_of_weights(self) -> dict[str, Tensor]:
        """The weights that are evaluated now, by name, on the CPU: the average where there is one, else the present."""
        weights = dict(self.model.named_parameters()) if self.average is None else self.average
        return {name: weight.detach().cpu().clone() for name, weight in weights.items()}

    def _whole_weights(self) -> dict[str, Tensor]:
        """As `copy_of_weights`, where each process holds a part of them too."""
        return {name: self.group.whole(weight).cpu() for name, weight in self.copy_of_weights().items()}

    def _copy_of_present_weights(self) -> dict[str, Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self.model.named_parameters()}

    def restore_best(self) -> None:
        """Give the model the weights of its best evaluation."""
        self.model.load_weights(self.best_weights)

    def state(self) -> TrainingState:
        """All that is needed to go on from here: copies of all weights and of the optimizers' memories.

        Not to be asked for while another thread is within `events()`.
        """
        tensors = {f"present/{name}": weight.cpu() for name, weight in self._copy_of_present_weights().items()}
        if self.average is not None:
            tensors |= {f"average/{name}": weight.cpu().clone() for name, weight in self.average.items()}
        tensors |= {f"best/{name}": weight.clone() for name, weight in self.best_weights.items()}
        for number, optimizer in enumerate(self.optimizers):
            for index, memory in optimizer.state_dict()["state"].items():
                for key, tensor in memory.items():
                    tensors[f"optimizer/{number}/{index}/{key}"] = tensor.detach().cpu().clone()
        return TrainingState(
            self.step,
            self.tokens,
            self.seconds,
            self.best_loss,
            self.best_step,
            self.batches_digest,
            tensors,
            self._train_loss,
            self._learning_rate,
            self._gradient_norm,
        )

    def load_state(self, state: TrainingState) -> None:
        """Go on from a state that a trainer of the same model, corpus and configuration gave."""
        self.step, self.tokens, self.seconds = state.step, state.tokens, state.seconds
        self.best_loss, self.best_step = state.best_loss, state.best_step
        self.batches_digest = state.batches_digest
        self._train_loss, self._learning_rate = state.train_loss, state.learning_rate
        self._gradient_norm = state.gradient_norm
        self._recent_seconds.clear()
        groups: dict[str, dict[str, Tensor]] = {"present": {}, "average": {}, "best": {}}
        memories: list[dict[int, dict[str, Tensor]]] = [{} for _ in self.optimizers]
        for path, tensor in state.tensors.items():
            kind, name = path.split("/", 1)
            if kind == "optimizer":
                number, index, key = name.split("/")
                memories[int(number)].setdefault(int(index), {})[key] = self.group.part(tensor.clone())
            else:
                groups[kind][name] = self.group.part(tensor.clone())
        self.model.load_weights(groups["present"])
        self.best_weights = groups["best"]
        if self.average is not None:
            self.average = {name: weight.to(self.model.device) for name, weight in groups["average"].items()}
        for optimizer, memory in zip(self.optimizers, memories, strict=True):
            optimizer.load_state_dict({"state": memory, "param_groups": optimizer.state_dict()["param_groups"]})


def _chained_digest(before: str, batch: Tensor) -> str:
    return hashlib.blake2b(before.encode() + batch.numpy().tobytes(), digest_size=8).hexdigest()
