"""Boxes around what cameras see, for fields that make their own."""

from __future__ import annotations

import torch
from torch import Tensor

from nerf_ssim.datasets.scene import Views
from nerf_ssim.rays.cameras import camera_rays, image_directions

__all__ = ["camera_cube", "frustum_box"]


def camera_cube(views: Views, near: float) -> Tensor:
    """The cube `[2, 3]` around the points `near` in front of the cameras, in every pixel's direction.

    `near` is measured along the optical axis; the cameras' own centres are not among the points. The cube is centred in
    the points' box and reaches as far along every axis as that box does along its longest.
    Source: the published DVGO, unbounded scenes that are looked at from inside.
    """
    # Along an image the points form a flat parallelogram, whose extremes are at the corner pixels.
    columns = torch.tensor([0.5, views.width - 0.5], device=views.c2w.device).repeat(2)
    rows = torch.tensor([0.5, views.height - 0.5], device=views.c2w.device).repeat_interleave(2)
    corners = torch.cat([image_directions(K[None], columns, rows)[None] for K in views.K])
    points = (views.c2w[:, None, :, 3] + near * (corners @ views.c2w[:, :, :3].mT)).flatten(0, 1)
    low, high = points.amin(0), points.amax(0)
    centre = (low + high) / 2
    radius = (centre - low).max()
    return torch.stack([centre - radius, centre + radius])


def frustum_box(views: Views, near: float, far: float) -> Tensor:
    """The box `[2, 3]` around all points at the distances `near` and `far` on the rays of every pixel."""
    low = views.c2w.new_full((3,), torch.inf)
    high = -low
    for index, (c2w, K) in enumerate(zip(views.c2w, views.K, strict=True)):
        rays = camera_rays(c2w, K, *views.size_of(index))
        for distance in (near, far):
            points = rays.origins + distance * rays.directions
            low, high = torch.minimum(low, points.amin(0)), torch.maximum(high, points.amax(0))
    return torch.stack([low, high])
