"""Which part of the box is worth sampling: the occupancy mask and the box that remains of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nerf_ssim.ops.marching import OccupancyGrid

__all__ = ["corner_points", "occupied_box", "update_occupancy"]


def corner_points(aabb: Tensor, resolution: Sequence[int], x_index: int) -> Tensor:
    """The grid corners `[ny * nz, 3]` in world coordinates of one x-slice of a `resolution` grid over `aabb [2, 3]`."""
    steps = [torch.linspace(0, 1, n, device=aabb.device, dtype=aabb.dtype) for n in resolution]
    y, z = torch.meshgrid(steps[1], steps[2], indexing="ij")
    share = torch.stack([steps[0][x_index].expand_as(y), y, z], dim=-1).view(-1, 3)
    return aabb[0] * (1 - share) + aabb[1] * share


@torch.no_grad()
def update_occupancy(
    alpha_of: Callable[[Tensor], Tensor],
    resolution: Sequence[int],
    aabb: Tensor,
    threshold: float,
    previous: OccupancyGrid | None,
) -> OccupancyGrid:
    """A new mask: opacity at the corners, widened by one cell, against the threshold.

    Args:
        alpha_of: points `[n, 3]` in world coordinates -> opacity of one step there `[n]`.
        resolution: corners along x, y, z.
        aabb: the field's box `[2, 3]`, which becomes the mask's.
        threshold: a corner is occupied when it or one of its 26 neighbours has `alpha >= threshold`.
        previous: where the former mask is empty the opacity counts as 0.
    Source: the published TensoRF (updateAlphaMask), 3x3x3 max pooling.
    """
    alpha = torch.zeros(tuple(resolution), device=aabb.device)
    for i in range(resolution[0]):
        points = corner_points(aabb, resolution, i)
        slab = alpha[i].view(-1)
        if previous is None:
            slab.copy_(alpha_of(points))
        else:
            inside = previous.occupied(points)
            slab[inside] = alpha_of(points[inside])
    pooled = torch.nn.functional.max_pool3d(alpha.clamp_(0, 1)[None, None], 3, stride=1, padding=1)[0, 0]
    return OccupancyGrid(pooled >= threshold, aabb.clone())


def occupied_box(occupancy: OccupancyGrid) -> Tensor | None:
    """The smallest box `[2, 3]` around the occupied corners, or None when there are none."""
    box = torch.empty_like(occupancy.aabb)
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        is_occupied = occupancy.volume.bool().amax(dim=others)
        if not is_occupied.any():
            return None
        index = is_occupied.nonzero()[:, 0]
        share = torch.linspace(0, 1, is_occupied.numel(), device=box.device, dtype=box.dtype)[index[[0, -1]]]
        box[:, axis] = occupancy.aabb[0, axis] * (1 - share) + occupancy.aabb[1, axis] * share
    return box
