"""Specification of total variation on channel-last planes and lines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor


def planes_tv(planes: Sequence[Tensor], factors: Sequence[float]) -> Tensor:
    """The sum of the planes' total variations times each factor in turn, a scalar."""
    return reduce(lambda total, factor: factor * total, factors, reduce(torch.add, map(plane_tv, planes)))


def plane_tv(plane: Tensor) -> Tensor:
    """`2 * (mean squared difference along v + the same along u)` of `plane` `[n_v, n_u, C]`, a scalar.

    A side of length one has no differences and adds nothing.
    """
    along_v, along_u = plane[1:] - plane[:-1], plane[:, 1:] - plane[:, :-1]
    of_v, of_u = (difference.square().sum() / max(1, difference.numel()) for difference in (along_v, along_u))
    return 2 * (of_v + of_u)


def line_tv(line: Tensor) -> Tensor:
    """`2 * mean squared difference` of neighbours of `line` `[n, C]`, a scalar."""
    return plane_tv(line[:, None])
