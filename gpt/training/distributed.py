"""Training in several processes: the same trainer, and a group that joins what each of them has learned.

`torchrun` starts the processes and `join` makes them a group. A batch is shared out between them in equal parts, so the
group learns what one process would learn from the whole batch, to rounding. The group is of one of three kinds:

    Group     a process alone: nothing to join, so every method does nothing or gives back what it was given
    Replicas  each process holds the whole model; gradients are averaged (DDP, https://arxiv.org/abs/2006.15704)
    Shards    each process holds a part of every tensor, and the whole of one block at a time (FSDP,
              https://arxiv.org/abs/2304.11277); the optimizers' memories and the averages are in parts, too

What several processes need of PyTorch takes long to import, so each function imports it where it is used.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gpt.model.gpt2 import GPT2
from gpt.training.group import Answer, Group, noting_stops

PARALLEL = ("none", "ddp", "fsdp")

# Others wait while the first process evaluates and saves. That one was lost is noticed at once, without this.
_LONGEST_WAIT = timedelta(hours=2)


class ProcessLost(RuntimeError):
    """Another process of the group has ended; the message says how to go on."""


# --- Several processes ----------------------------------------------------------------------------------------------


class Replicas(Group):
    """Processes that each hold the whole model, with its gradients averaged."""

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        super().__init__(rank, size)
        self.device = device
        self._agreed_signal: int | None = None

    @property
    def agreed_signal(self) -> int | None:
        """As `Group`; agreed upon with each mean."""
        return self._agreed_signal

    def place(self, model: GPT2, device: torch.device) -> nn.Module:
        """As `Group`; the device is that of this process."""
        from torch.nn.parallel import DistributedDataParallel

        model.to(self.device)
        return DistributedDataParallel(model, device_ids=None if self.device.type == "cpu" else [self.device])

    def gradients(self, learner: nn.Module, *, are_complete: bool) -> AbstractContextManager[Any]:
        """As `Group`."""
        return nullcontext() if are_complete else learner.no_sync()  # type: ignore[operator]

    def mean(self, value: Tensor) -> float:
        """As `Group`; on the same way it becomes known whether one of the processes was asked to stop."""
        import torch.distributed as dist

        stops = (signal.SIGTERM, signal.SIGINT)
        own = [value.item(), *(float(self.stop_signal == number) for number in stops)]
        sums = torch.tensor(own, dtype=torch.float64, device=self.device)
        dist.all_reduce(sums)
        total, *asked = sums.tolist()
        self._agreed_signal = next((number for number, count in zip(stops, asked, strict=True) if count), None)
        return total / self.size

    def ask_first(self, model: GPT2, question: Callable[[GPT2], Answer]) -> Answer:
        """As `Group`."""
        whole = self._whole_model(model)
        return self.let_first(lambda: question(whole))  # type: ignore[arg-type]  # None where it is not asked

    def let_first(self, act: Callable[[], Answer]) -> Answer:
        """As `Group`."""
        import torch.distributed as dist

        said: list[Any] = [None, None]
        if self.is_first:
            try:
                said = [act(), None]
            except Exception as error:  # the others would wait in vain, and in the end complain of something else
                said = [None, error]
        dist.broadcast_object_list(said, src=0, device=self.device)
        answer, problem = said
        if problem is not None:
            raise problem
        return answer

    def wait(self) -> None:
        """As `Group`."""
        import torch.distributed as dist

        dist.barrier()

    def _whole_model(self, model: GPT2) -> GPT2 | None:
        """The model with all its weights, in the first process; None in the others."""
        return model if self.is_first else None


class Shards(Replicas):
    """Processes that each hold a part of every tensor: an equal share of its first dimension, as far as it goes."""

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        from torch.distributed.device_mesh import init_device_mesh

        super().__init__(rank, size, device)
        self._mesh = init_device_mesh(device.type, (size,))

    def place(self, model: GPT2, device: torch.device) -> nn.Module:
        """As `Group`; block by block, so that the device never has to hold the whole model."""
        from torch.distributed.fsdp import fully_shard

        for block in model.blocks:
            fully_shard(block, mesh=self._mesh)
        fully_shard(model, mesh=self._mesh)
        return model

    def gradients(self, learner: nn.Module, *, are_complete: bool) -> AbstractContextManager[Any]:
        """As `Group`."""
        learner.set_requires_gradient_sync(are_complete)  # type: ignore[operator]
        return nullcontext()

    def whole(self, tensor: Tensor) -> Tensor:
        """As `Group`."""
        from torch.distributed.tensor import DTensor

        if not isinstance(tensor, DTensor):
            return tensor
        on_device: Any = tensor.to(self.device)
        return on_device.full_tensor()

    def part(self, tensor: Tensor) -> Tensor:
        """As `Group`; what is a part already, or one number only, is kept as it is."""
        from torch.distributed.tensor import DTensor, Shard, distribute_tensor

        if isinstance(tensor, DTensor) or tensor.ndim == 0:
            return tensor
        # No source rank: each process has the whole and cuts out its own, without any exchange.
        return distribute_tensor(tensor.to(self.device), self._mesh, [Shard(0)], src_data_rank=None)

    @property
    def holds_parts(self) -> bool:
        """As `Group`."""
        return True

    def write_parts(self, tensors: dict[str, Tensor], folder: Path) -> None:
        """As `Group`, as safetensors; the folder is there once all its files are."""
        import torch.distributed.checkpoint as dcp

        workplace = folder.with_name(f".{folder.name}.new")
        if self.is_first:
            shutil.rmtree(workplace, ignore_errors=True)
        self.wait()
        dcp.save(tensors, storage_writer=dcp.HuggingFaceStorageWriter(str(workplace), save_distributed=True))
        if self.is_first:
            workplace.rename(folder)
        self.wait()

    def _empty(self, size: torch.Size, dtype: torch.dtype) -> Tensor:
        from torch.distributed.tensor import Shard, empty

        if not size:
            return super()._empty(size, dtype)
        return empty(*size, dtype=dtype, device_mesh=self._mesh, placements=[Shard(0)])

    @torch.no_grad()
    def _whole_model(self, model: GPT2) -> GPT2 | None:
        whole = None
        if self.is_first:
            with torch.device("meta"):  # so that no starting values are drawn
                whole = GPT2.from_config(model.config)
            whole.to_empty(device=self.device)
            whole.output_layer.weight = whole.token_embedding.weight
        for name, parameter in model.named_parameters():
            weight = self.whole(parameter)
            if whole is not None:
                whole.get_parameter(name).copy_(weight)
        return whole


# --- Joining --------------------------------------------------------------------------------------------------------


@contextmanager
def join(parallel: str | None = None, device: str = "auto") -> Iterator[Group]:
    """Join the processes that torchrun has started, until the end of the block; without torchrun, a process alone.

    Several processes note Ctrl-C and SIGTERM as long as they are joined, because they can only stop together. A process
    alone notes them where it says so (see `noting_stops`).

    Args:
        parallel: one of `PARALLEL`; None is "ddp" for several processes, else "none".
        device: "cuda" (one GPU for each process of a machine), "cpu", or "auto", which takes cuda where there is one.

    Raises:
        ValueError: what torchrun has started does not fit `parallel` or the device.
        ProcessLost: in the block, as soon as another process is missed.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    kind = parallel or ("ddp" if size > 1 else "none")
    if kind not in PARALLEL:
        raise ValueError(f"parallel is {kind!r}; choose one of {', '.join(PARALLEL)}")
    if kind == "none":
        if size > 1:
            raise ValueError(
                f"--parallel none is for one process, and {size} were started; choose ddp or fsdp, or leave it out"
            )
        yield Group()
        return
    if "WORLD_SIZE" not in os.environ:
        raise ValueError(
            f"--parallel {kind} is for processes that torchrun has started; start with "
            f"`torchrun --nproc-per-node 2 -m gpt train ...`, or leave --parallel out"
        )
    own_device = _own_device(device)
    import torch.distributed as dist

    dist.init_process_group("nccl" if own_device.type == "cuda" else "gloo", timeout=_LONGEST_WAIT)
    group = (Replicas if kind == "ddp" else Shards)(dist.get_rank(), size, own_device)
    try:
        with noting_stops(group), _noticing_losses(group):
            yield group
    finally:
        dist.destroy_process_group()


@contextmanager
def _noticing_losses(group: Group) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not any(sign in str(error) for sign in ("gloo", "remote process exited")):
            raise
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun now ends all that are left, and this one says why
        raise ProcessLost(
            f"another process of this training was lost (noticed by process {group.rank} of {group.size}); "
            f"the same command goes on from the last save"
        ) from error


def speaks_for_its_machine() -> bool:
    """Whether this process prints what concerns every process on its machine; a process alone does."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def _own_device(device: str) -> torch.device:
    """The device of this process, by the name that all processes were given."""
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"several processes cannot share the device {device}; choose cuda, cpu or auto")
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError("this machine has no cuda device; choose auto or cpu")
    local_rank, local_size = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if local_size > torch.cuda.device_count():
        raise ValueError(
            f"{local_size} processes were started on a machine of {torch.cuda.device_count()} GPUs; "
            f"start one for each GPU, or choose --device cpu"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)
