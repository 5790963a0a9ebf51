"""Packed samples to pixels: the part of volume rendering that every field shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nerf_ssim.models.parts.thinning import draw_by_weight
from nerf_ssim.ops.compositing import accumulate, composite
from nerf_ssim.ops.marching import Samples
from nerf_ssim.ops.selection import Selected, gather_samples, select_samples

__all__ = ["ColorDraws", "ColorOf", "Render", "depth_of", "in_recomputed_parts", "render_samples"]

ColorOf = Callable[[Selected], Tensor]
"""Some samples -> their colours `[n, 3]`."""

SAMPLES_IN_A_PART = 1 << 16  # features and decoder of this many samples are in memory at once


@dataclass(frozen=True)
class ColorDraws:
    """A random selection of the samples that get a colour: how many a ray, and one phase in [0, 1) a ray `[rays]`."""

    count: int
    phase: Tensor


@dataclass(frozen=True)
class Render:
    """What a batch of rays looks like.

    rgb: colour `[rays, 3]` in [0, 1], differentiable. opacity: accumulated weight `[rays]`. depth: expected distance
    `[rays]` in scene units, 0 where nothing was hit, None where it was not asked for. n_samples, n_coloured: how many
    samples had their density and their colour evaluated.
    """

    rgb: Tensor
    opacity: Tensor
    depth: Tensor | None
    n_samples: int
    n_coloured: int


def render_samples(
    samples: Samples,
    sigma: Tensor,
    directions: Tensor,
    color_of: ColorOf,
    *,
    distance_scale: float,
    weight_threshold: float,
    background: Tensor | float,
    draws: ColorDraws | None = None,
    with_depth: bool = True,
) -> Render:
    """Composites packed samples; colour is asked for only where a sample's weight exceeds the threshold.

    Args:
        samples: where the samples are, of `samples.ray_offsets.numel() - 1` rays.
        sigma: their density `[samples]`, >= 0.
        directions: unit directions of the rays `[rays, 3]`.
        color_of: some of the samples, `n` of them -> their colours `[n, 3]`.
        distance_scale: factor on the distance between samples (25 in TensoRF).
        weight_threshold: samples with `weight > weight_threshold` (strictly) get a colour; the others add opacity only.
        background: grey value behind the ray, weighed by 1 - opacity: a number or a 0-dim tensor.
        draws: where given, only so many of those samples are drawn, in proportion to their weight, and colours are
            unbiased estimates (`thinning.draw_by_weight`).
        with_depth: whether the depth is wanted, which training has no use for.
    Source: TensoRF (Chen et al. 2022), equation 1 and its published thresholds.
    """
    n_rays = samples.ray_offsets.numel() - 1
    composited = composite(sigma, samples.delta, samples.ray_offsets, distance_scale=distance_scale)
    if draws is None:
        weights, coloured = select_samples(
            composited.weights, samples.ray_index, samples.coords, directions, weight_threshold
        )
    else:
        chosen, weights = draw_by_weight(
            composited.weights, samples.ray_offsets, weight_threshold, draws.count, draws.phase
        )
        coloured = gather_samples(chosen, samples.ray_index, samples.coords, directions)
    n_coloured = coloured.index.numel()
    if n_coloured:
        rgb = accumulate(weights, color_of(coloured), coloured.ray_index, n_rays)
    else:
        rgb = sigma.new_zeros(n_rays, 3)
    rgb = rgb + background * (1.0 - composited.opacity[:, None])
    depth = depth_of(composited.weights, samples.t, samples.ray_index, n_rays) if with_depth else None
    return Render(rgb.clamp(0.0, 1.0), composited.opacity, depth, sigma.numel(), n_coloured)


@torch.no_grad()
def depth_of(weights: Tensor, t: Tensor, ray_index: Tensor, n_rays: int) -> Tensor:
    """Expected distance `[rays]`: each sample's `t [samples]` by its weight, summed over its ray."""
    return accumulate(weights, t[:, None], ray_index, n_rays)[:, 0]


def in_recomputed_parts(color_of: ColorOf) -> ColorOf:
    """`color_of` a part of the samples at a time, keeping nothing but the colours until backward.

    Backward computes each part again, so the features of only `SAMPLES_IN_A_PART` samples are ever in memory. Colours
    are the same; gradients are summed part by part and differ by rounding.
    """

    def color_in_parts(samples: Selected) -> Tensor:
        return torch.cat(
            [
                checkpoint(color_of, part, use_reentrant=False, preserve_rng_state=False)
                for part in samples.split(SAMPLES_IN_A_PART)
            ]
        )

    return color_in_parts
