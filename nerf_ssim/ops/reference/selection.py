"""Specification of the choice of samples by weight."""

from __future__ import annotations

from torch import Tensor

Gathered = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def select_samples(
    weights: Tensor, ray_index: Tensor, coords: Tensor, directions: Tensor, t: Tensor | None, threshold: float
) -> Gathered:
    """What `ops.selection.select_samples` gathers, of the samples with `weight > threshold`, in their order."""
    chosen = (weights.detach() > threshold).nonzero()[:, 0]
    return weights[chosen], *gathered(chosen, ray_index, coords, directions, t)


def gathered(
    chosen: Tensor, ray_index: Tensor, coords: Tensor, directions: Tensor, t: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Of the samples at `chosen [n]`: these, their rays, coordinates, directions, and distances (empty without)."""
    rays = ray_index[chosen]
    return chosen, rays, coords[chosen], directions[rays], coords.new_empty(0) if t is None else t[chosen]
