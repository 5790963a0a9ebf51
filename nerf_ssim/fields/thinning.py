"""Which packed samples a render evaluates: density up to where a ray is opaque, colour for some of the samples.

All three are in the spirit of TensoRF's colour threshold: where nothing that can be seen is lost, no network is run.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nerf_ssim.ops.marching import Samples

__all__ = ["above_threshold", "draw_by_weight", "samples_before_opaque"]

STEPS_AT_ONCE = 32  # samples of each ray between two looks at its transmittance


def above_threshold(weights: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """The samples with `weight > threshold` (strictly), as published: their indices `[n]` and weights `[n]`."""
    chosen = (weights.detach() > threshold).nonzero()[:, 0]
    return chosen, weights[chosen]


def draw_by_weight(
    weights: Tensor, ray_offsets: Tensor, threshold: float, count: int, phase: Tensor
) -> tuple[Tensor, Tensor]:
    """A random few of the samples above the threshold, and factors that make sums over them unbiased.

    A ray's samples are laid side by side, each as long as its weight, and `count` equidistant points, shifted together
    by `phase`, pick the samples on which they fall: a sample with the share p of the ray's weight is picked `count * p`
    times on average, never more than one off. Each keeps its weight times picks / expected picks. The expectation of
    the sum of factor times colour, and of its gradient, is therefore that over all samples above the threshold. The
    squared error's expectation has the variance of the sum in it, which draws a ray's weight together.

    Args:
        weights: `[samples]`, differentiable.
        ray_offsets: `[rays + 1]`.
        threshold: samples with a weight of at most this are left out.
        count: picks a ray, at least 1.
        phase: one number in [0, 1) a ray, `[rays]`.
    Returns:
        Indices of the samples picked `[n]`, ascending, at most `count` a ray, and their factors `[n]`.
    Source: systematic sampling (Madow 1949) in proportion to the compositing weight.
    """
    eligible = torch.where(weights.detach() > threshold, weights.detach(), 0.0)
    # Both ends of a sample come from one running sum, in float64: so its neighbour starts exactly where it ends.
    ends = torch.nn.functional.pad(eligible.double().cumsum(0), (1, 0))
    ray_start = ends[ray_offsets[:-1]]
    total = ends[ray_offsets[1:]] - ray_start
    scale = torch.where(total > 0, count / total, 0.0)
    lengths = ray_offsets.diff()
    start, scale, shift = (
        value.repeat_interleave(lengths, output_size=len(weights)) for value in (ray_start, scale, phase.double())
    )
    picks = ((ends[1:] - start) * scale + shift).floor() - ((ends[:-1] - start) * scale + shift).floor()
    chosen = (picks > 0).logical_and_(eligible > 0).nonzero()[:, 0]
    expected = eligible[chosen].double() * scale[chosen]
    return chosen, weights[chosen] * (picks[chosen] / expected).to(weights.dtype)


def samples_before_opaque(
    samples: Samples,
    density_of: Callable[[Tensor], Tensor],
    *,
    distance_scale: float,
    transmittance: float,
    steps_at_once: int = STEPS_AT_ONCE,
) -> tuple[Samples, Tensor]:
    """The samples of each ray until its transmittance falls below a limit, and their density.

    Density is asked for front to back, `steps_at_once` samples of each ray at a time; a ray of which less than
    `transmittance` of its light is left is not followed farther. What is left out weighs less than that in total.

    Args:
        samples: of all rays, packed.
        density_of: coordinates `[n, 3]` -> density `[n]`, >= 0, differentiable.
        distance_scale: factor on distances, as in compositing.
        transmittance: the limit, in (0, 1).
        steps_at_once: how often a ray is looked at; more samples a call, but more of them behind the limit.
    Returns:
        The samples that were evaluated, packed, and their density `[n]`.
    """
    offsets, delta = samples.ray_offsets, samples.delta
    begin, end = offsets[:-1], offsets[1:]
    depth = delta.new_zeros(len(begin))  # optical depth so far
    limit = -torch.log(torch.tensor(transmittance, dtype=delta.dtype)).item()
    indices, densities = [], []
    while len(alive := ((begin < end) & (depth < limit)).nonzero()[:, 0]):
        lengths = (end[alive] - begin[alive]).clamp(max=steps_at_once)
        owner = alive.repeat_interleave(lengths)
        before = lengths.cumsum(0) - lengths
        index = torch.arange(len(owner), device=owner.device) + (begin[alive] - before).repeat_interleave(lengths)
        sigma = density_of(samples.coords[index])
        depth.index_add_(0, owner, sigma.detach() * delta[index] * distance_scale)
        begin = begin.clone()
        begin[alive] += lengths
        indices.append(index)
        densities.append(sigma)
    if len(indices) <= 1 and sum(map(len, indices)) == len(delta):
        return samples, densities[0] if densities else density_of(samples.coords)
    kept, order = torch.cat(indices).sort()
    ray_index = samples.ray_index[kept]
    counts = torch.bincount(ray_index, minlength=len(begin))
    kept_offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    kept_samples = Samples(samples.coords[kept], samples.t[kept], delta[kept], ray_index, kept_offsets)
    return kept_samples, torch.cat(densities)[order]
