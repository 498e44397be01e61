"""Training, as a stream of events: a command line prints them, a run stores them, a test lists them."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from torch import Tensor

from gpt.data.batches import BatchStream
from gpt.data.corpus import Corpus
from gpt.generation.decoder import rolls_forever
from gpt.generation.stream import extend_ids
from gpt.model.gpt2 import GPT2
from gpt.model.seeds import derived_seed
from gpt.training.distributed import Group
from gpt.training.evaluation import mean_and_error, token_losses
from gpt.training.optimizers import build_optimizers
from gpt.training.recipes import TrainConfig, rate_factor
from gpt.training.state import TrainEvent, TrainingState


class TrainingInterrupted(RuntimeError):
    """Somebody ended the training in the middle of a step, which leaves no trace; see `Trainer.interrupt_when`."""


class TrainingDiverged(RuntimeError):
    """The loss is no longer a number. The model has its best weights back; the message says what to change."""


def pick_device(device: str = "auto") -> torch.device:
    """The device by name; "auto" is cuda, else mps, else cpu. Raises ValueError if it is not on this machine."""
    present = {"cpu": True, "mps": torch.backends.mps.is_available(), "cuda": torch.cuda.is_available()}
    if device == "auto":
        device = next(name for name in ("cuda", "mps", "cpu") if present[name])
    if not present[device]:
        raise ValueError(f"this machine has no {device} device; choose auto or cpu")
    return torch.device(device)


def is_fast_in_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies matrices in bfloat16 faster than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # PyTorch keeps these two to itself, so they may go; without them, float32.
        names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        return any(getattr(torch.cpu, name, lambda: False)() for name in names)
    return False


def learns_in_bfloat16(config: TrainConfig, device: torch.device) -> bool:
    """Whether a training makes the products of its linear layers in bfloat16 on this device."""
    return config.precision == "bfloat16" or (config.precision == "auto" and is_fast_in_bfloat16(device))


def train(model: GPT2, corpus: Corpus, config: TrainConfig) -> Iterator[TrainEvent]:
    """Train a model and yield what happens, step by step; not asking for the next event is a pause.

    Afterwards the model holds the weights of its best evaluation.

    Raises:
        ValueError: the model does not fit the corpus, the corpus is too short, or the batch cannot be cut as asked.
        TrainingDiverged: the loss became infinite or not a number.
    """
    trainer = Trainer(model, corpus, config)
    yield from trainer.events()
    trainer.restore_best()


class Trainer:
    """The training of one model, which can be put down and taken up again.

    `events()` is the training itself; `state()` and `load_state()` carry it over a pause in another process, after
    which it goes on bit for bit as if it had not been interrupted (at the same number of threads).

    Several processes train one model together where each has a trainer of the same arguments and its place in their
    `Group`; all trainers tell the same losses, and `state()` may hold a part only of each tensor.

    Attributes:
        group: the processes that train this model; by default a process alone.
        step, tokens, seconds: how far it has come.
        best_loss, best_step: the lowest validation loss so far, and when.
        best_weights: the weights that had it, by name.
        average: the running average of the weights, by name; None without `ema_decay`.
        batches_digest: of all batches learned from so far, in their order; equal for runs that saw the same.
    """

    def __init__(self, model: GPT2, corpus: Corpus, config: TrainConfig, group: Group | None = None) -> None:
        if model.config.vocab_size != corpus.tokenizer.vocab_size:
            raise ValueError(
                f"the model knows {model.config.vocab_size} tokens and the corpus {corpus.name!r} has "
                f"{corpus.tokenizer.vocab_size}; make the model with vocab_size={corpus.tokenizer.vocab_size}"
            )
        self.group = group or Group()
        parts = self.group.size * config.accumulation
        if config.batch_size % parts:
            raise ValueError(
                f"a batch of {config.batch_size} rows cannot be cut into {parts} equal parts (processes x accumulation "
                f"= {self.group.size} x {config.accumulation}); give a batch_size that is a multiple of {parts}"
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
        self._is_interruption_wanted: Callable[[], bool] = lambda: False
        self.step = 0
        self.tokens = 0
        self.seconds = 0.0
        self.best_loss = math.inf
        self.best_step = 0
        self.average = None if config.ema_decay == 0 else self._copy_of_present_weights()
        self.best_weights = self.copy_of_weights()
        self.batches_digest = ""

    def events(self) -> Iterator[TrainEvent]:
        """Train from the present step to `max_steps`, one event for each update, and one before the first."""
        if self.step == 0:
            yield self._event(None, rate=0.0, tokens_per_second=0.0, evaluate_now=True)
        recent_seconds: list[float] = []
        while self.step < self.config.max_steps:
            started = time.perf_counter()
            loss, rate = self._update()
            recent_seconds = [*recent_seconds[-19:], time.perf_counter() - started]
            self.seconds += recent_seconds[-1]
            yield self._event(
                loss,
                rate,
                tokens_per_second=self._tokens_per_step * len(recent_seconds) / sum(recent_seconds),
                evaluate_now=self.step % self.config.eval_interval == 0 or self.step == self.config.max_steps,
            )

    def interrupt_when(self, is_wanted: Callable[[], bool]) -> None:
        """Ask, after each block of the model and on the way back, whether to raise TrainingInterrupted.

        A step of a large batch may take seconds; between two blocks pass some tenths of one.
        """
        self._is_interruption_wanted = is_wanted

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Where the model is called within this block, it may be interrupted; elsewhere it has no hooks."""

        def ask(*_: Any) -> None:
            if self._is_interruption_wanted():
                raise TrainingInterrupted("the training was ended in the middle of a step")

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

    @property
    def _tokens_per_step(self) -> int:
        return self.config.batch_size * self.model.config.context_length

    def _update(self) -> tuple[float, float]:
        """Learn from the next batch; returns its loss before the update, and AdamW's learning rate."""
        inputs, targets = self.batches[self.step]
        factor = rate_factor(self.step, self.config)
        self.model.train()
        with self._dropout_stream(), self._interruptible():
            train_loss = self.group.mean(self._learn(self.group.rows(inputs), self.group.rows(targets)))
        if not math.isfinite(train_loss):
            self._diverged(train_loss)
        if self.config.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens += self._tokens_per_step
        self.batches_digest = _chained_digest(self.batches_digest, inputs)
        self._follow_with_average()
        return train_loss, self.config.learning_rate * factor

    def _learn(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Add up the gradients of the mean loss of some rows, part by part; returns that loss."""
        device, parts = self.model.device, self.config.accumulation
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

    @contextmanager
    def _dropout_stream(self) -> Iterator[None]:
        """Dropout draws from PyTorch's global stream: seed it for each step and process, and leave it as it was found.

        So a resumed run needs no memory of it, and no one else's numbers change.
        """
        if self.model.config.dropout == 0:
            yield
            return
        with torch.random.fork_rng():
            torch.manual_seed(derived_seed(self.config.seed, "dropout", self.step, *self.group.stream))
            yield

    def _event(
        self, train_loss: float | None, rate: float, tokens_per_second: float, *, evaluate_now: bool
    ) -> TrainEvent:
        validation_loss = validation_error = sample = None
        if evaluate_now:
            with self._averaged():
                validation_loss, validation_error, sample = self.group.ask_first(self.model, self._look)
            if not math.isfinite(validation_loss):
                self._diverged(validation_loss)
            if validation_loss < self.best_loss:
                self.best_loss, self.best_step = validation_loss, self.step
                self.best_weights = self.copy_of_weights()
        return TrainEvent(
            step=self.step,
            tokens=self.tokens,
            seconds=self.seconds,
            train_loss=train_loss,
            validation_loss=validation_loss,
            validation_error=validation_error,
            learning_rate=rate,
            tokens_per_second=tokens_per_second,
            sample=sample,
        )

    def _look(self, model: GPT2) -> tuple[float, float, str | None]:
        """The validation loss of a model, its standard error, and what it writes where that is a number."""
        with self._interruptible():
            losses = token_losses(model, self.corpus.validation_ids, most_windows=self.config.eval_windows)
        mean, error = mean_and_error(losses)
        return mean, error, self._sample(model) if math.isfinite(mean) else None

    def _sample(self, model: GPT2) -> str | None:
        """What the model writes now; drawn from the same stream each time, so that only learning changes the text.

        A text that has filled the context of a model with learned positions goes on from its last half.
        """
        if not self.config.sample_length:
            return None
        tokenizer = self.corpus.tokenizer
        prompt = self.config.sample_prompt
        if not prompt or tokenizer.unknown_characters(prompt):
            prompt = tokenizer.decode(self.corpus.validation_ids[:1].tolist())
        text = tokenizer.encode(prompt)
        until = len(text) + self.config.sample_length
        while len(text) < until:
            read, some = text, until - len(text)
            if not rolls_forever(model.config):  # reading it anew for each token would take longer than learning
                context = model.config.context_length
                read = text if len(text) < context else text[-max(1, context // 2) :]
                some = min(some, max(1, context - len(read)))
            seed = derived_seed(self.config.seed, "sample", len(text))
            ids = extend_ids(model, torch.tensor([read]), max_new_tokens=some, temperature=0.8, seed=seed)
            text += ids[0, -some:].tolist()
        return tokenizer.decode(text)

    def _diverged(self, loss: float) -> NoReturn:
        self.restore_best()
        raise TrainingDiverged(
            f"the loss became {loss} after step {self.step}; training has stopped, and the weights of step "
            f"{self.best_step} (validation loss {self.best_loss:.3f}) are kept; try a lower learning rate"
        )

    def copy_of_weights(self) -> dict[str, Tensor]:
        """The weights that are evaluated now, by name, on the CPU: the average where there is one, else the present."""
        weights = dict(self.model.named_parameters()) if self.average is None else self.average
        return {name: weight.detach().cpu().clone() for name, weight in weights.items()}

    def _copy_of_present_weights(self) -> dict[str, Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self.model.named_parameters()}

    def restore_best(self) -> None:
        """Give the model the weights of its best evaluation."""
        self.model.load_weights(self.best_weights)

    def state(self) -> TrainingState:
        """All that is needed to go on from here: copies of all weights and of the optimizers' memories."""
        tensors = {f"present/{name}": weight.cpu() for name, weight in self._copy_of_present_weights().items()}
        if self.average is not None:
            tensors |= {f"average/{name}": weight.cpu().clone() for name, weight in self.average.items()}
        tensors |= {f"best/{name}": weight.clone() for name, weight in self.best_weights.items()}
        for number, optimizer in enumerate(self.optimizers):
            for index, memory in optimizer.state_dict()["state"].items():
                for key, tensor in memory.items():
                    tensors[f"optimizer/{number}/{index}/{key}"] = tensor.detach().cpu().clone()
        return TrainingState(
            self.step, self.tokens, self.seconds, self.best_loss, self.best_step, self.batches_digest, tensors
        )

    def load_state(self, state: TrainingState) -> None:
        """Go on from a state that a trainer of the same model, corpus and configuration gave."""
        self.step, self.tokens, self.seconds = state.step, state.tokens, state.seconds
        self.best_loss, self.best_step = state.best_loss, state.best_step
        self.batches_digest = state.batches_digest
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
