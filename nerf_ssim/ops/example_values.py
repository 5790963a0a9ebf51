"""Values for the examples of declared ops: seeded, so that every machine compares the same."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def uniform(*shape: int, low: float = 0.0, high: float = 1.0, seed: int = 0) -> Tensor:
    """Float32 values between `low` and `high`."""
    generator = torch.Generator().manual_seed(1000 * seed + sum(shape))
    return torch.rand(shape, generator=generator) * (high - low) + low


def offsets(counts: Sequence[int]) -> Tensor:
    """Where each ray's packed samples start, for so many samples on each ray: int64 `[rays + 1]`."""
    return torch.tensor([0, *torch.tensor(counts, dtype=torch.int64).cumsum(0).tolist()])


def ray_index(counts: Sequence[int]) -> Tensor:
    """The ray of each packed sample, int64 `[samples]`."""
    return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts, dtype=torch.int64))
