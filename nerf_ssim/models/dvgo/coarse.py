"""What bounded DVGO's coarse stage needs before it starts and leaves when it ends."""

from __future__ import annotations

import torch
from torch import Tensor

from nerf_ssim.datasets.scene import Views
from nerf_ssim.errors import HaltedTraining
from nerf_ssim.models.dvgo.bounded import BoundedDVGO
from nerf_ssim.rays.cameras import Rays, camera_rays

__all__ = ["fine_box", "view_counts", "mask_unseen"]

RAYS_AT_ONCE = 8192
SEEN_WEIGHT = 1.0  # a view sees a voxel if its samples' interpolation weights there add up to more than this
FEWEST_VIEWS = 3  # voxels seen by fewer are masked out


@torch.no_grad()
def view_counts(field: BoundedDVGO, views: Views, downrate: int = 1) -> Tensor:
    """How many of `views` see each voxel of `field`, `[X, Y, Z]` float, by each `downrate`-th row and column."""
    counts = torch.zeros(field.resolution, device=field.aabb.device)
    pixels = torch.arange(views.height * views.width, device=counts.device).view(views.height, views.width)
    seen = pixels[::downrate, ::downrate].reshape(-1)
    for index, (c2w, K) in enumerate(zip(views.c2w, views.K, strict=True)):
        weight = torch.zeros_like(counts)
        rays_of_view = camera_rays(c2w, K, *views.size_of(index))
        for rays in Rays(rays_of_view.origins[seen], rays_of_view.directions[seen]).split(RAYS_AT_ONCE):
            with torch.enable_grad():
                weight += field.weight_of_samples(rays)
        counts += weight > SEEN_WEIGHT
    return counts


def mask_unseen(field: BoundedDVGO, views: Views, downrate: int = 1) -> Tensor:
    """Masks out voxels that hardly any view sees; returns the rates of the others, `[X, Y, Z, 1]` of at most 1."""
    counts = view_counts(field, views, downrate)
    field.mask &= counts >= FEWEST_VIEWS
    return (counts / counts.max())[..., None]


def fine_box(coarse: BoundedDVGO, threshold: float, scale: float, iteration: int) -> Tensor:
    """The box `[2, 3]` around the coarse voxels more opaque than `threshold`, scaled about its centre.

    Raises:
        HaltedTraining: there are none.
    """
    box = coarse.opaque_box(threshold)
    if box is None:
        raise HaltedTraining(
            f"iteration {iteration}: no coarse voxel is more opaque than bbox_thres {threshold}, so there is no box "
            "for the fine stage",
            lower=("bbox_thres",),
            anew="more --coarse_iters or a higher --coarse_alpha_init",
        )
    margin = (box[1] - box[0]) * (scale - 1) / 2
    return torch.stack([box[0] - margin, box[1] + margin])
