"""Upsampling of planes and lines: linear interpolation that keeps the corners in place."""

from __future__ import annotations

from torch import Tensor

from nerf_ssim.ops.reference import resize as reference


def resize_plane(plane: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample a plane bilinearly.

    Args:
        plane: `[n_v, n_u, C]`.
        size: the new `(n_v, n_u)`.
    Returns:
        `[size[0], size[1], C]`, contiguous, its corners those of `plane`.
    Raises:
        ValueError: a size below one.
    """
    if min(size) < 1:
        raise ValueError(f"size: expected at least one node a side, not {size}")
    return reference.resize_plane(plane, size)


def resize_line(line: Tensor, size: int) -> Tensor:
    """Resample a line `[n, C]` linearly to `[size, C]`, its ends those of `line`."""
    if size < 1:
        raise ValueError(f"size: expected at least one node, not {size}")
    return reference.resize_line(line, size)
