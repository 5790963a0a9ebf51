"""Which rays are worth marching: those that cross the box, and those that meet something occupied in it."""

from __future__ import annotations

import torch
from torch import Tensor

from nerf_ssim.ops.marching import OccupancyGrid, march_box
from nerf_ssim.rays.cameras import Rays

__all__ = ["all_inside", "crosses_box", "meets_occupied"]

TINY_DIRECTION = 1e-6  # a zero direction counts as this, as published


def crosses_box(rays: Rays, aabb: Tensor) -> Tensor:
    """Whether each ray's line crosses `aabb [2, 3]` (bool `[rays]`; unclamped, so a box behind the camera counts)."""
    direction = torch.where(rays.directions == 0, TINY_DIRECTION, rays.directions)
    to_high, to_low = (aabb[1] - rays.origins) / direction, (aabb[0] - rays.origins) / direction
    entry = torch.minimum(to_high, to_low).amax(-1)
    exit_ = torch.maximum(to_high, to_low).amin(-1)
    return exit_ > entry


def all_inside(points: Tensor, aabb: Tensor) -> bool:
    """Whether all `points [n, 3]` are strictly inside the box: then every ray from them crosses it."""
    return bool(((points > aabb[0]) & (points < aabb[1])).all())


@torch.no_grad()
def meets_occupied(
    rays: Rays, aabb: Tensor, near: float, far: float, step_size: float, n_samples: int, occupancy: OccupancyGrid | None
) -> Tensor:
    """Whether each ray has an occupied sample (bool `[rays]`), or any in the box where there is no `occupancy`.

    The published filter marches a fixed 256 steps and so drops rays whose first occupied voxel is farther; here
    `n_samples` is the field's full number, which crosses the whole box.
    """
    samples = march_box(rays.origins, rays.directions, aabb, near, far, step_size, n_samples, None, occupancy)
    return samples.ray_offsets.diff() > 0
