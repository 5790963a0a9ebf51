"""DVGO's losses of a render: on a GPU one kernel each and one for the gradient, elsewhere PyTorch's own operators.

Source: Sun et al. 2022, section 4.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from nerf_ssim.ops.calls import GradientCall
from nerf_ssim.ops.declaration import Op, declare
from nerf_ssim.ops.example_values import ray_index, uniform
from nerf_ssim.ops.reference import ray_losses as reference


def light_entropy(light: Tensor) -> Tensor:
    """Mean entropy (nats) of "the ray goes through".

    Args:
        light: what is left of each ray's light behind all samples, `[rays]` in [0, 1]; 0 and 1 count as 1e-6 from them.
    Returns:
        A scalar, differentiable in `light`.
    """
    return LIGHT_ENTROPY(light)


def point_error(rgb: Tensor, weights: Tensor, ray_index: Tensor, target: Tensor) -> Tensor:
    """Squared error of each sample's own colour against its ray's true one, by weight, a mean over rays.

    Args:
        rgb: colour of each sample, `[n, 3]`.
        weights: of each sample, `[n]`, constants.
        ray_index: the ray of each, `[n]` int64.
        target: true colours, `[rays, 3]`.
    Returns:
        A scalar, differentiable in `rgb`. On a GPU a sample of a ray that does not exist is left out.
    """
    return POINT_ERROR(rgb, weights, ray_index, target)


def _entropy_gradient(call: GradientCall) -> Sequence[Tensor]:
    return (torch.ops.nerf_ssim.light_entropy_backward(*call.upstream, *call.args),)


def _point_gradient(call: GradientCall) -> Sequence[Tensor]:
    return (torch.ops.nerf_ssim.point_error_backward(*call.upstream, *call.args),)


def _entropy_examples() -> Iterator[tuple[Any, ...]]:
    for rays in (5, 300, 1):
        yield (uniform(rays, low=0.05, high=0.9),)


def _point_examples() -> Iterator[tuple[Any, ...]]:
    for counts in ([5, 0, 1, 30, 0], [2], [400, 300]):
        samples = sum(counts)
        points = uniform(samples, 3, seed=1), uniform(samples, seed=2)
        yield *points, ray_index(counts), uniform(len(counts), 3, seed=3)


LIGHT_ENTROPY = declare(
    Op(
        name="light_entropy",
        operators={
            "light_entropy(Tensor light) -> Tensor": lambda light: light.new_empty(()),
            "light_entropy_backward(Tensor grad, Tensor light) -> Tensor": lambda _, light: torch.empty_like(light),
        },
        reference=reference.light_entropy,
        differentiable=("light",),
        gradient=_entropy_gradient,
        devices=("cuda",),
        examples=_entropy_examples,
    )
)
POINT_ERROR = declare(
    Op(
        name="point_error",
        operators={
            "point_error(Tensor rgb, Tensor weights, Tensor ray_index, Tensor target) -> Tensor": (
                lambda rgb, *_: rgb.new_empty(())
            ),
            "point_error_backward(Tensor grad, Tensor rgb, Tensor weights, Tensor ray_index, Tensor target)"
            " -> Tensor": (lambda _, rgb, *others: rgb.new_empty(rgb.shape)),
        },
        reference=reference.point_error,
        differentiable=("rgb",),
        gradient=_point_gradient,
        devices=("cuda",),
        examples=_point_examples,
    )
)
