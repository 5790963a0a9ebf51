"""Pixels to rays, for OpenCV cameras (x right, y down, z forward) whose pixel (0, 0) has its centre at (0.5, 0.5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nerf_ssim.ops.reference.pixel_rays import image_directions, rays_through

__all__ = ["Rays", "camera_rays", "image_directions", "pixel_rays"]


@dataclass(frozen=True)
class Rays:
    """A batch of rays in world coordinates: `origins` and unit `directions`, both `[rays, 3]` float32."""

    origins: Tensor
    directions: Tensor

    def __len__(self) -> int:
        return self.origins.shape[0]

    def split(self, size: int) -> list[Rays]:
        """Consecutive chunks of at most `size` rays."""
        return [Rays(o, d) for o, d in zip(self.origins.split(size), self.directions.split(size), strict=True)]


def pixel_rays(c2w: Tensor, K: Tensor, x: Tensor, y: Tensor) -> Rays:
    """The rays through image points, one camera a point.

    Args:
        c2w: camera-to-world `[rays, 3, 4]` (or broadcastable, such as `[1, 3, 4]`).
        K: intrinsics in pixels `[rays, 3, 3]`, upper triangular.
        x, y: image points `[rays]` in pixels; the centre of column `i` is `i + 0.5`.
    Returns:
        `Rays` with unit directions (the published Replica loader normalises them too, so that steps are scene lengths).
    """
    return Rays(*rays_through(c2w, K, x, y))


def camera_rays(c2w: Tensor, K: Tensor, height: int, width: int) -> Rays:
    """All rays of one camera, row by row: `height * width` of them, for `c2w [3, 4]` and `K [3, 3]`."""
    rows = torch.arange(height, device=c2w.device, dtype=c2w.dtype) + 0.5
    columns = torch.arange(width, device=c2w.device, dtype=c2w.dtype) + 0.5
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return pixel_rays(c2w[None], K[None], x.reshape(-1), y.reshape(-1))
