"""DVGO's compositing of packed samples, with its early stop, and the distortion loss of the weights.

Source: Sun et al. 2022, "Direct Voxel Grid Optimization", section 3.2 and its published thresholds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nerf_ssim.ops.calls import GradientCall
from nerf_ssim.ops.compositing import check_offsets
from nerf_ssim.ops.declaration import Op, declare
from nerf_ssim.ops.example_values import offsets, ray_index, uniform
from nerf_ssim.ops.reference import alpha_compositing as reference


class AlphaComposited(NamedTuple):
    """What compositing knows of each sample and each ray."""

    weights: Tensor
    """Share of the ray's light that the sample contributes, `[S]`."""
    background: Tensor
    """Light that is left where the ray ends or compositing stopped, `[R]`."""


def voxel_alpha(density: Tensor, *, shift: float, interval: float) -> Tensor:
    """Opacity of a step through a voxel grid: `1 - (1 + exp(density + shift))^(-interval)`.

    Args:
        density: raw values of the density grid, any shape.
        shift: added to each; log(1 / (1 - a) - 1) makes a density of 0 an opacity of a.
        interval: length of the step, in voxels of the base resolution.
    Returns:
        Opacities in [0, 1] of the same shape, differentiable; small ones keep their digits.
    """
    return reference.voxel_alpha(density, shift, interval)


def composite_voxels(
    density: Tensor,
    ray_offsets: Tensor,
    *,
    shift: float,
    interval: float,
    alpha_threshold: float = 0.0,
    stop: float = 1e-3,
) -> AlphaComposited:
    """Weights of packed samples along each ray, from raw densities.

    Each sample in order takes its opacity's share of the light that reaches it; the first after which less than
    `stop` is left is the ray's last.

    Args:
        density: raw values of the density grid at the samples, `[S]`.
        ray_offsets: where each ray's samples start, `[R + 1]`, int64, ascending, last = S.
        shift, interval: as for `voxel_alpha`.
        alpha_threshold: samples of at most this opacity count as empty: weight 0, no gradient.
        stop: see above; later samples have weight 0 and no gradient, and `background` is the light left there.
    Returns:
        `AlphaComposited(weights [S], background [R])`, both differentiable in `density`; the background of a ray
        without samples is 1.
    Raises:
        ValueError: offsets that do not cover the samples.
    """
    if density.dim() != 1:
        raise ValueError(f"density: expected [S], not {tuple(density.shape)}")
    check_offsets(ray_offsets, len(density))
    return AlphaComposited(*COMPOSITE_VOXELS(density, ray_offsets, shift, interval, alpha_threshold, stop))


def distortion_loss(weights: Tensor, s: Tensor, ray_index: Tensor, interval: float) -> Tensor:
    """How spread out the weights of each ray are, in linear time.

    Args:
        weights: `[n]`, any selection of packed samples.
        s: their places along the ray in [0, 1], ascending along each ray, `[n]`.
        ray_index: the ray of each, `[n]` int64, ascending.
        interval: length in `s` that a sample stands for.
    Returns:
        The scalar `sum_i (2 w_i sum_{j < i} w_j (s_i - s_j) + interval / 3 * w_i^2) / (ray_index[-1] + 1)`, j over the
        earlier samples of the same ray, differentiable in `weights`; 0 for no samples.
    Raises:
        ValueError: shapes that disagree.
    Source: Barron et al. 2022, "Mip-NeRF 360", equation 15; the mean is over rays up to the last that has a sample.
    """
    if weights.dim() != 1 or not weights.shape == s.shape == ray_index.shape or ray_index.dtype != torch.int64:
        shapes = f"{tuple(weights.shape)}, {tuple(s.shape)}, {tuple(ray_index.shape)} {ray_index.dtype}"
        raise ValueError(f"weights, s, ray_index: expected three [n], the last int64, not {shapes}")
    return DISTORTION_LOSS(weights, s, ray_index, interval)


def _composite_shapes(density: Tensor, ray_offsets: Tensor, *_: float) -> tuple[Tensor, Tensor]:
    return density.new_empty(density.shape), density.new_empty(ray_offsets.shape[0] - 1)


def _composite_gradient(call: GradientCall) -> Sequence[Tensor]:
    return (torch.ops.nerf_ssim.composite_voxels_backward(*call.upstream, *call.args),)


def _composite_examples() -> Iterator[tuple[Any, ...]]:
    for counts, threshold, stop in (([5, 0, 1, 30, 0], 0.0, 1e-3), ([2], 0.1, 0.0), ([7, 30], 1e-4, 0.3)):
        density = uniform(sum(counts), low=-6, high=6)
        yield density, offsets(counts), -2.0, 0.5, threshold, stop


def _distortion_gradient(call: GradientCall) -> Sequence[Tensor]:
    (upstream,) = call.upstream
    assert upstream is not None
    return (upstream * call.kept[0],)


def _distortion_examples() -> Iterator[tuple[Any, ...]]:
    for counts in ([5, 0, 1, 30, 0], [2], [7, 3]):
        places = torch.cat([torch.zeros(0), *(uniform(count, seed=count).sort().values for count in counts)])
        yield uniform(sum(counts)), places, ray_index(counts), 0.02


COMPOSITE_VOXELS = declare(
    Op(
        name="composite_voxels",
        operators={
            "composite_voxels(Tensor density, Tensor ray_offsets, float shift, float interval, float alpha_threshold,"
            " float stop) -> (Tensor, Tensor)": _composite_shapes,
            "composite_voxels_backward(Tensor? grad_weights, Tensor? grad_background, Tensor density, Tensor"
            " ray_offsets, float shift, float interval, float alpha_threshold, float stop) -> Tensor": (
                lambda of_weights, of_background, density, *_: density.new_empty(density.shape)
            ),
        },
        reference=reference.composite_voxels,
        differentiable=("density",),
        gradient=_composite_gradient,
        results=2,
        examples=_composite_examples,
    )
)
DISTORTION_LOSS = declare(
    Op(
        name="distortion_loss",
        operators={  # its second output is the gradient of the first in the weights
            "distortion_loss(Tensor weights, Tensor s, Tensor ray_index, float interval) -> (Tensor, Tensor)": (
                lambda weights, *_: (weights.new_empty(()), weights.new_empty(weights.shape))
            ),
        },
        reference=reference.distortion_loss,
        differentiable=("weights",),
        gradient=_distortion_gradient,
        examples=_distortion_examples,
    )
)
