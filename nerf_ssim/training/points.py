"""Points on the surfaces that a trained field's cameras see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nerf_ssim.datasets.scene import Views
from nerf_ssim.errors import ConfigError
from nerf_ssim.models.parts.solid import Solid, middle_of, opacity_at, stretch_of
from nerf_ssim.rays.cameras import pixel_rays
from nerf_ssim.training.trained import RAYS_AT_ONCE, Trained

__all__ = ["Points", "points_seen"]

STOPPED = 0.9  # opacity from which a ray gives a point: under it the background colours it
NEAR = 3  # stretches between a point and the matter that it is of
MOST_TRIES = 4  # rays a point, after which fewer points than asked for have to do


@dataclass(frozen=True)
class Points:
    """`positions [n, 3]` in scene units and `colors [n, 3]`, uint8 RGB."""

    positions: NDArray[np.float32]
    colors: NDArray[np.uint8]


@torch.no_grad()
def points_seen(trained: Trained, count: int, *, threshold: float, reach: float | None = None, seed: int = 0) -> Points:
    """About `count` points where rays through random pixels of the training views are stopped.

    A point is where the ray ends on average. Between two surfaces, such as at the edge of an object, that is in the
    air: a point with no matter near it on its ray is left out, half of `threshold` being enough. There are fewer than
    `count` where too few of `MOST_TRIES` rays a point give one.

    Args:
        threshold, reach: as for `surface_of`; the middle of the scene's box counts where the model is no `Solid`.
    Raises:
        ConfigError: the run has no training cameras.
    """
    views = trained.scene.train
    if len(views) == 0:
        raise ConfigError("--points: the run has no cameras to see points with; --mesh needs none")
    middle = middle_of(trained.field) if isinstance(trained.field, Solid) else trained.scene.aabb.mean(0)
    generator = torch.Generator().manual_seed(seed)
    positions, colors, found = [], [], 0
    for _ in range(MOST_TRIES * count // RAYS_AT_ONCE + 1):
        rays = pixel_rays(*_random_pixels(views, RAYS_AT_ONCE, generator))
        render = trained.render_rays(rays)
        assert render.depth is not None, "only training renders without depth"
        points = rays.origins + rays.directions * (render.depth / render.opacity.clamp_min(STOPPED))[:, None]
        kept = render.opacity >= STOPPED
        if isinstance(trained.field, Solid):
            kept &= opacity_near(trained.field, points, rays.directions) >= threshold / 2
        if reach is not None:
            kept &= (points - middle).norm(dim=1) <= reach
        positions.append(points[kept].cpu())
        colors.append(render.rgb[kept].cpu())
        found += int(kept.sum())
        if found >= count:
            break
    rgb = torch.cat(colors)[:count].mul(255).round().byte()
    return Points(torch.cat(positions)[:count].numpy(), rgb.numpy())


def opacity_near(solid: Solid, points: Tensor, directions: Tensor) -> Tensor:
    """The largest opacity `[n]` at `points [n, 3]` and a few stretches before and behind them along `directions`."""
    coords = solid.from_world(points)
    ahead = solid.from_world(points + directions * stretch_of(solid)) - coords
    # A stretch is a length of the field's own box, and longer in the world where space is contracted.
    length = (ahead * solid.sides).norm(dim=1, keepdim=True) / 2
    step = ahead * (stretch_of(solid) / length.clamp_min(1e-9))
    steps = range(-NEAR, NEAR + 1)
    return torch.stack([opacity_at(solid, coords + k * step) for k in steps]).amax(0)


def _random_pixels(views: Views, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cameras `[count, 3, 4]` and `[count, 3, 3]`, columns and rows `[count]`, of random places in random views."""
    device = views.c2w.device
    sizes = torch.tensor([views.size_of(index) for index in range(len(views))])
    view = torch.randint(len(views), (count,), generator=generator)
    share = torch.rand(2, count, generator=generator)
    y, x = (share * sizes[view].T).to(device)
    chosen = view.to(device)
    return views.c2w[chosen], views.K[chosen], x, y
