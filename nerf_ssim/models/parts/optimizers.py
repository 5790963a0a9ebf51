"""Adam over named parameter groups, its learning rate as a pure function of the iteration, and cropping its moments."""

from __future__ import annotations

import torch
from torch import nn

from nerf_ssim.ops.adam import FusedAdam

__all__ = ["BETAS", "ParameterGroup", "crop_moments", "decay_factor", "make_adam", "set_learning_rates"]

BETAS = (0.9, 0.99)


ParameterGroup = tuple[str, list[nn.Parameter], float]
"""Name, parameters, and the learning rate that the group starts from."""


def make_adam(groups: list[ParameterGroup]) -> FusedAdam:
    """Adam (0.9, 0.99, eps 1e-8) over `groups`; each keeps its name and its initial rate beside the present one."""
    return FusedAdam(
        [{"params": params, "lr": lr, "initial_lr": lr, "name": name} for name, params, lr in groups], betas=BETAS
    )


def decay_factor(target_ratio: float, decay_iters: int) -> float:
    """The factor an iteration that makes a rate fall to `target_ratio` in `decay_iters` iterations."""
    return target_ratio ** (1.0 / decay_iters)


def set_learning_rates(optimizer: torch.optim.Optimizer, scale: float) -> None:
    """Every group's rate becomes `scale` times its initial one."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * scale


def crop_moments(
    optimizer: torch.optim.Optimizer,
    replaced: dict[nn.Parameter, nn.Parameter],
    kept: dict[nn.Parameter, tuple[slice, ...]],
) -> None:
    """Makes the optimiser follow cropped parameters: old -> new, with the moments cropped alike.

    (The published code replaces the parameters and leaves Adam updating the old ones.)
    """
    for group in optimizer.param_groups:
        group["params"] = [replaced.get(parameter, parameter) for parameter in group["params"]]
    for old, new in replaced.items():
        state = optimizer.state.pop(old, None)
        if state is not None:
            is_moment = {key: torch.is_tensor(value) and value.shape == old.shape for key, value in state.items()}
            optimizer.state[new] = {
                key: value[kept[old]].clone() if is_moment[key] else value for key, value in state.items()
            }
