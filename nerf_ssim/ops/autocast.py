"""Ops under `torch.autocast`: they compute in float32 all the same.

Autocast chooses a type operator by operator. Ours accumulate over thousands of samples and have options of their own
for the products that bear fewer digits (`--decoder_precision`), so inside of them autocast is off, forward and
backward.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

HALVES = (torch.float16, torch.bfloat16)


def is_on(tensors: Sequence[Tensor | None]) -> bool:
    """Whether autocast is on for the device of these tensors."""
    if not (torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")):
        return False
    kinds = {tensor.device.type for tensor in tensors if tensor is not None}
    return any(kind in ("cpu", "cuda") and torch.is_autocast_enabled(kind) for kind in kinds)


@contextmanager
def off(tensors: Sequence[Tensor | None]) -> Iterator[None]:
    """Autocast off for the devices of these tensors."""
    with ExitStack() as stack:
        for kind in sorted({tensor.device.type for tensor in tensors if tensor is not None}):
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def in_float32(args: Sequence[Any]) -> list[Any]:
    """The arguments with tensors of half the size, which autocast has made before, in float32."""

    def widened(value: Any) -> Any:
        if isinstance(value, (list, tuple)) and value and isinstance(value[0], Tensor):
            return [widened(each) for each in value]
        return value.float() if isinstance(value, Tensor) and value.dtype in HALVES else value

    return [widened(value) for value in args]
