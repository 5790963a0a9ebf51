"""A few of a ray's samples, drawn by weight, that get a colour instead of all above a threshold."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["draw_by_weight"]

WEIGHT_UNIT = 2.0**-40
"""Far finer than a float32's last bit at the weights that matter; 2^13 rays of it still add up exactly in float64."""


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
    ends = torch.nn.functional.pad(running_sum(eligible), (1, 0))
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


def running_sum(weights: Tensor) -> Tensor:
    """Sums of `weights [n]` in [0, 1] up to and with each, float64.

    Under `torch.use_deterministic_algorithms` the weights are whole numbers of `WEIGHT_UNIT`, whose sums no order of
    addition changes: a GPU adds blocks up in any order.
    """
    if not torch.are_deterministic_algorithms_enabled():
        return weights.double().cumsum(0)
    return (weights.double() / WEIGHT_UNIT).round().long().cumsum(0).double() * WEIGHT_UNIT
