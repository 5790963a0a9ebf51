"""Upsampling of planes and lines: linear interpolation that keeps the corners in place."""

from __future__ import annotations

import torch
from torch import Tensor

from nerf_ssim.ops import backend
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
    wants_gradient = plane.requires_grad and torch.is_grad_enabled()  # the kernel only resamples
    if wants_gradient or backend.implementation("resize_plane", plane) == "reference":
        return reference.resize_plane(plane, size)
    return torch.ops.nerf_ssim.resize_plane(plane, *size)


def resize_line(line: Tensor, size: int) -> Tensor:
    """Resample a line `[n, C]` linearly to `[size, C]`, its ends those of `line`."""
    if size < 1:
        raise ValueError(f"size: expected at least one node, not {size}")
    return resize_plane(line[:, None], (size, 1))[:, 0]


if backend.declare("resize_plane"):
    torch.library.register_fake(
        "nerf_ssim::resize_plane", lambda plane, n_v, n_u: plane.new_empty(n_v, n_u, plane.shape[2])
    )
