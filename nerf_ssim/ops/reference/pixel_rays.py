"""Specification of the rays through pixels, for OpenCV cameras whose pixel (0, 0) has its centre at (0.5, 0.5)."""

from __future__ import annotations

import torch
from torch import Tensor


def pixel_rays(pixels: Tensor, images: Tensor, c2w: Tensor, K: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Origins, unit directions and colours in [0, 1] of `pixels`, as `ops.pixel_rays` has them."""
    height, width = images.shape[1:3]
    view = pixels // (height * width)
    row = (pixels % (height * width)) // width
    column = pixels % width
    origins, directions = rays_through(c2w[view], K[view], column + 0.5, row + 0.5)
    return origins, directions, images.view(-1, 3)[pixels].float() / 255.0


def rays_through(c2w: Tensor, K: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Origins and unit directions `[rays, 3]` through image points, one camera a point; see `rays.cameras`."""
    in_camera = torch.nn.functional.normalize(image_directions(K, x, y), dim=-1)
    directions = (c2w[:, :3, :3] * in_camera[:, None, :]).sum(-1)
    return c2w[:, :3, 3].expand_as(directions), directions


def image_directions(K: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Directions `[rays, 3]` through image points in the camera's own axes, of length 1 along the optical axis.

    Args:
        K: intrinsics in pixels `[rays, 3, 3]` (or broadcastable), upper triangular.
        x, y: image points `[rays]` in pixels; the centre of column `i` is `i + 0.5`.
    """
    down = (y - K[:, 1, 2]) / K[:, 1, 1]
    right = (x - K[:, 0, 2] - K[:, 0, 1] * down) / K[:, 0, 0]
    return torch.stack([right, down, torch.ones_like(right)], dim=-1)
