"""Upsampling of planes and lines: linear interpolation that keeps the corners in place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from nerf_ssim.ops.declaration import Op, declare
from nerf_ssim.ops.example_values import uniform
from nerf_ssim.ops.reference import resize as reference


def resize_plane(plane: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample a plane bilinearly.

    Args:
        plane: `[n_v, n_u, C]`.
        size: the new `(n_v, n_u)`.
    Returns:
        `[size[0], size[1], C]`, contiguous, its corners those of `plane`; differentiable.
    Raises:
        ValueError: a size below one.
    """
    if min(size) < 1:
        raise ValueError(f"size: expected at least one node a side, not {size}")
    return RESIZE_PLANE(plane, *size)


def resize_line(line: Tensor, size: int) -> Tensor:
    """Resample a line `[n, C]` linearly to `[size, C]`, its ends those of `line`."""
    if size < 1:
        raise ValueError(f"size: expected at least one node, not {size}")
    return resize_plane(line[:, None], (size, 1))[:, 0]


def _examples() -> Iterator[tuple[Any, ...]]:
    for shape, size in (((5, 7, 3), (9, 4)), ((1, 4, 2), (3, 8)), ((33, 1, 16), (40, 1))):
        yield uniform(*shape), *size


RESIZE_PLANE = declare(
    Op(  # the kernel only resamples: where a gradient is wanted, the reference serves
        name="resize_plane",
        operators={
            "resize_plane(Tensor plane, SymInt n_v, SymInt n_u) -> Tensor": (
                lambda plane, n_v, n_u: plane.new_empty(n_v, n_u, plane.shape[2])
            ),
        },
        reference=lambda plane, n_v, n_u: reference.resize_plane(plane, (n_v, n_u)),
        examples=_examples,
    )
)
