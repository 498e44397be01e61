"""What the server and its trainer processes say to each other, over pipes: a kind, some fields, and tensors.

8 bytes  length of the fields, little-endian
8 bytes  length of the tensors
...      {"kind": ..., <fields>} as JSON
...      the tensors as safetensors; nothing where there are none
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from torch import Tensor

_LENGTHS = struct.Struct("<QQ")


@dataclass(frozen=True, eq=False)
class Message:
    """One thing said.

    Attributes:
        kind: what it is about; see `gpt.runs.trainer_process`.
        fields: what JSON can hold; numbers that are not finite, too.
        tensors: by name.
    """

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)


def write_message(stream: BinaryIO, message: Message) -> None:
    """Say something; returns when it is on its way as a whole.

    Raises:
        OSError, ValueError: nobody reads there any more.
    """
    fields = json.dumps({"kind": message.kind, **message.fields}).encode()
    tensors = _to_bytes(message.tensors) if message.tensors else b""
    stream.write(_LENGTHS.pack(len(fields), len(tensors)))
    stream.write(fields)
    stream.write(tensors)
    stream.flush()


def read_message(stream: BinaryIO) -> Message | None:
    """Wait for the next thing said; None when whoever said it has ended, be it in the middle."""
    try:
        lengths = stream.read(_LENGTHS.size)
        if len(lengths) < _LENGTHS.size:
            return None
        of_fields, of_tensors = _LENGTHS.unpack(lengths)
        fields, tensors = stream.read(of_fields), stream.read(of_tensors)
    except (OSError, ValueError):  # the pipe is closed, here or there
        return None
    if len(fields) < of_fields or len(tensors) < of_tensors:
        return None
    said = json.loads(fields)
    return Message(said.pop("kind"), said, _from_bytes(tensors) if tensors else {})


def _to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    from safetensors.torch import save  # with PyTorch, which the processes are started before

    return save({name: tensor.contiguous() for name, tensor in tensors.items()})


def _from_bytes(content: bytes) -> dict[str, Tensor]:
    from safetensors.torch import load

    return load(content)
