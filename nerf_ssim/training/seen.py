"""What the training cameras see of places in a trained scene."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nerf_ssim.evaluation.camera_paths import resize_intrinsics
from nerf_ssim.evaluation.depth_files import hit_distance
from nerf_ssim.models.parts.solid import Solid, Surface, stretch_of
from nerf_ssim.training.trained import Trained

__all__ = ["seen_by_cameras", "seen_part"]

MOST_VIEWS = 100
RAYS = 100_000  # in all: small depth maps are enough to tell a wall's front from what is behind it
STRETCHES_BEHIND = 3
LEAST_SIDE, LARGEST_SIDE = 16, 128
SLACK = 0.03  # of the distance, by which a place may be farther than what stopped the ray


def seen_part(trained: Trained, solid: Solid, surface: Surface) -> Surface:
    """The triangles of a surface that the training cameras see."""
    points = torch.from_numpy(surface.vertices).float().to(solid.sides.device)
    here, there = solid.to_world(torch.tensor([[0.0] * 3, [1e-3, 0.0, 0.0]], device=points.device))
    unit = float((there - here).norm() / (solid.sides[0] * 5e-4))  # scene units in the middle that a unit of `sides` is
    is_seen = seen_by_cameras(trained, points, STRETCHES_BEHIND * stretch_of(solid) * unit)
    return surface.of_vertices(is_seen.cpu().numpy())


@torch.no_grad()
def seen_by_cameras(trained: Trained, points: Tensor, slack: float) -> Tensor:
    """Whether each of `points [n, 3]` lies in front of, or on, what stops the light of some training camera: `[n]`.

    Args:
        points: world coordinates, on the scene's device.
        slack: how far behind the surface a place still counts as on it, scene units; 3 % of the distance are added.
    """
    views = trained.scene.train
    chosen = torch.linspace(0, len(views) - 1, min(len(views), MOST_VIEWS)).round().long().unique().tolist()
    longest = min(max(math.isqrt(RAYS // max(len(chosen), 1)), LEAST_SIDE), LARGEST_SIDE)
    is_seen = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    for index in chosen:
        height, width = views.size_of(index)
        factor = min(1.0, longest / max(height, width))
        size = max(1, round(width * factor)), max(1, round(height * factor))
        c2w, K = views.c2w[index], resize_intrinsics(views.K[index], (width, height), size)
        view = trained.render_camera(c2w, K, size[1], size[0])
        distance = hit_distance(view.depth, view.opacity)
        distance = torch.where(distance > 0, distance, torch.inf)
        # The farthest of a pixel and its neighbours: what only part of a small pixel sees is seen.
        farthest = torch.nn.functional.max_pool2d(distance[None, None], 3, stride=1, padding=1)[0, 0]
        unseen = (~is_seen).nonzero()[:, 0]
        is_seen[unseen] = _in_front(points[unseen], c2w, K, farthest, slack)
    return is_seen


def _in_front(points: Tensor, c2w: Tensor, K: Tensor, farthest: Tensor, slack: float) -> Tensor:
    """Which points are in a camera's picture and not behind its `farthest [height, width]` distances."""
    height, width = farthest.shape
    from_camera = points - c2w[:, 3]
    in_picture = from_camera @ c2w[:, :3] @ K.T
    x, y = (in_picture[:, :2] / in_picture[:, 2:].clamp_min(1e-9)).floor().T
    is_inside = (in_picture[:, 2] > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    limit = farthest[y.clamp(0, height - 1).long(), x.clamp(0, width - 1).long()]
    distance = from_camera.norm(dim=1)
    return is_inside & (distance * (1 - SLACK) <= limit + slack)
