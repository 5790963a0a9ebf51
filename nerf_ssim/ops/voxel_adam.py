"""DVGO's optimiser on voxel grids: total variation that enters as a gradient, and an Adam that skips idle voxels.

Source: Sun et al. 2022, DirectVoxGO's published total variation and masked Adam.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from nerf_ssim.ops.declaration import Op, declare
from nerf_ssim.ops.example_values import uniform
from nerf_ssim.ops.reference import voxel_adam as reference


@torch.no_grad()
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
    skip_zero: bool = True,
    tv_weights: Sequence[float] | None = None,
    tv_dense: bool = True,
    rates: Tensor | None = None,
    touched: Tensor | None = None,
) -> None:
    """One update of a voxel grid (or of any tensor) and its two moments, in place; `grad` is all zeros afterwards.

    1. With `tv_weights`, each voxel p gains, for each of its up to six neighbours q, the axis's weight times
       `clamp(p - q, -1, 1)` of the old values: the gradient of a Huber loss of the differences.
    2. Each element moves by `rates * lr * sqrt(1 - beta2^step) / (1 - beta1^step) * exp_avg / (sqrt(exp_avg_sq) +
       eps)` of the new moments; with `skip_zero`, elements whose gradient is zero keep value and moments.
    3. The gradient is cleared, ready for `GradientPool.give`.

    Natively all three happen in one pass over memory. What would not change is not written, nor are its moments read;
    with `touched`, a gradient of zeros is not read either.

    Args:
        param, grad, exp_avg, exp_avg_sq: four tensors of one shape, dtype and device; `[X, Y, Z, C]` for `tv_weights`.
        lr, beta1, beta2, eps: learning rate and Adam's constants.
        step: number of this update for this parameter, from 1.
        skip_zero: whether elements without a gradient stay as they are.
        tv_weights: of differences along x, y and z, or None for no total variation.
        tv_dense: whether total variation reaches elements without a gradient.
        rates: factor on the learning rate of each element, the shape of `param`, or None.
        touched: where `grad` may hold something else than zeros, as `GradientPool.touched` has it, or None for
            anywhere. It speeds up steps with total variation and changes no result.
    Raises:
        ValueError: shapes that differ, or a step below 1.
    """
    tensors = [param, grad, exp_avg, exp_avg_sq, *([] if rates is None else [rates])]
    if any(tensor.shape != param.shape for tensor in tensors):
        shapes = ", ".join(str(list(tensor.shape)) for tensor in tensors)
        raise ValueError(f"voxel_adam_step: all tensors must have one shape, not {shapes}")
    if step < 1:
        raise ValueError(f"voxel_adam_step: step counts from 1, not {step}")
    if tv_weights is not None:
        check_weights(tv_weights)
        if param.dim() != 4:
            raise ValueError(f"voxel_adam_step: total variation wants [X, Y, Z, C], not {tuple(param.shape)}")
    weights = None if tv_weights is None else list(tv_weights)
    step_options = lr, beta1, beta2, eps, step, skip_zero, weights, tv_dense
    if all(tensor.is_contiguous() for tensor in tensors):
        VOXEL_ADAM_STEP(param, grad, exp_avg, exp_avg_sq, *step_options, rates, touched)
    else:
        _reference(param, grad, exp_avg, exp_avg_sq, *step_options, rates)


def check_weights(weights: Sequence[float]) -> None:
    """Raises ValueError unless there is a weight >= 0 for each of the three axes."""
    if len(weights) != 3 or not all(weight >= 0 for weight in weights):
        raise ValueError(f"weights: expected three of at least 0, not {list(weights)}")


def _reference(
    param: Tensor, grad: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, lr: float, beta1: float, beta2: float, eps: float,
    step: int, skip_zero: bool, tv_weights: Sequence[float] | None, tv_dense: bool, rates: Tensor | None,
    touched: Tensor | None = None,
) -> None:  # fmt: skip
    """The specification, with the operator's arguments; where the gradient may be changes nothing in it."""
    reference.voxel_adam_step(
        param, grad, exp_avg, exp_avg_sq, lr=lr, beta1=beta1, beta2=beta2, eps=eps, step=step, skip_zero=skip_zero,
        tv_weights=tv_weights, tv_dense=tv_dense, rates=rates,
    )  # fmt: skip


def _examples() -> Iterator[tuple[Any, ...]]:
    constants = 0.1, 0.9, 0.99, 1e-8
    for shape, skip_zero, weights in (
        ((5, 4, 6, 3), True, [0.1, 0.2, 0.3]),
        ((1, 2, 1, 1), False, None),
        ((40,), True, None),
    ):
        param, exp_avg = uniform(*shape, low=-1), uniform(*shape, low=-0.1, high=0.1, seed=2)
        grad = torch.where(uniform(*shape, seed=3) > 0.5, uniform(*shape, low=-1, seed=1), 0.0)
        rates = uniform(*shape, seed=5) if skip_zero else None
        state = param, grad, exp_avg, uniform(*shape, high=0.1, seed=4)
        yield *state, *constants, 3, skip_zero, weights, False, rates, None


VOXEL_ADAM_STEP = declare(
    Op(
        name="voxel_adam_step",
        operators={
            "voxel_adam_step(Tensor(a!) param, Tensor(b!) grad, Tensor(c!) exp_avg, Tensor(d!) exp_avg_sq, float lr,"
            " float beta1, float beta2, float eps, int step, bool skip_zero, float[]? tv_weights, bool tv_dense,"
            " Tensor? rates, Tensor? touched) -> ()": lambda *_: None,
        },
        reference=_reference,
        in_place=True,
        examples=_examples,
    )
)
