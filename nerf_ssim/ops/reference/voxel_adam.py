"""Specification of DVGO's optimiser on voxel grids: total variation as a gradient, and its Adam. All in place."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def tv_gradient(grid: Tensor, weights: Sequence[float]) -> Tensor:
    """Sum over the six neighbours of weight * clamp(grid - neighbour, -1, 1), `[X, Y, Z, C]`; see `ops.voxel_adam`."""
    gradient = torch.zeros_like(grid)
    for axis, weight in enumerate(weights):
        if grid.shape[axis] < 2:  # no neighbours
            continue
        pull = grid.diff(dim=axis).clamp(-1, 1) * weight
        gradient.narrow(axis, 1, pull.shape[axis]).add_(pull)
        gradient.narrow(axis, 0, pull.shape[axis]).sub_(pull)
    return gradient


def add_voxel_tv_gradient(grid: Tensor, grad: Tensor, weights: Sequence[float], dense: bool) -> None:
    """Adds `tv_gradient` to `grad`, everywhere or where `grad` is not zero."""
    gradient = tv_gradient(grid, weights)
    grad.add_(gradient if dense else torch.where(grad != 0, gradient, 0))


def voxel_adam_step(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    step: int,
    skip_zero: bool,
    tv_weights: Sequence[float] | None,
    tv_dense: bool,
    rates: Tensor | None,
) -> None:
    """Total variation, the update, and a cleared gradient, one after the other; see `ops.voxel_adam`."""
    if tv_weights is not None:
        add_voxel_tv_gradient(param, grad, tv_weights, tv_dense)
    first = exp_avg * beta1 + grad * (1.0 - beta1)
    second = exp_avg_sq * beta2 + grad * grad * (1.0 - beta2)
    step_size = lr * math.sqrt(1.0 - beta2**step) / (1.0 - beta1**step)
    move = step_size * first / (second.sqrt() + eps)
    if rates is not None:
        move = move * rates
    is_moved = grad != 0 if skip_zero else torch.ones_like(grad, dtype=torch.bool)
    param.sub_(torch.where(is_moved, move, 0))
    exp_avg.copy_(torch.where(is_moved, first, exp_avg))
    exp_avg_sq.copy_(torch.where(is_moved, second, exp_avg_sq))
    grad.zero_()
