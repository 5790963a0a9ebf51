"""Which of a ray's samples get a colour: all above a weight, as published, or a few of those drawn by weight."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["above_threshold", "draw_by_weight"]


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
