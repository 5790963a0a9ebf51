"""Bounds of scenes whose layout has none: from points on surfaces, else from the cameras alone."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from nerf_ssim.datasets.scene import Views
from nerf_ssim.datasets.scene_file import Bounds
from nerf_ssim.datasets.surfaces import feature_points
from nerf_ssim.errors import SceneError

__all__ = ["bounds_around", "distances_to_box", "estimate_bounds"]

_ENOUGH = 60  # points, for a box that is worth more than the cameras' own
_OUTLIERS = 1.0  # percent of the points at each end of an axis
_MARGIN = 0.1  # of the box's extent


def estimate_bounds(
    train: Views, test: Views, points: NDArray[np.float64] | None, where: str
) -> tuple[Bounds, NDArray[np.float64] | None]:
    """A box that holds what the cameras see, and the distances at which they see it.

    Args:
        train, test: the scene's views.
        points: `[n, 3]` on its surfaces, from depth maps or a reconstruction; None looks for features in the images.
        where: how an error names the scene.
    Returns:
        The bounds, and the points that they were made from; None where the cameras alone had to do.
    Raises:
        SceneError: the cameras stand at one place, so that nothing tells how large the scene is.
    """
    c2w = torch.cat([train.c2w, test.c2w]).double().numpy()
    source = "the layout's points"
    if points is None or len(points) < _ENOUGH:
        points, source = feature_points(train), "features that neighbouring views share"
    if len(points) >= _ENOUGH:
        return bounds_around(points, c2w, f"estimated from {source} ({len(points)} points)"), points
    return _bounds_of_cameras(c2w, where), None


def bounds_around(points: NDArray[np.float64], c2w: NDArray[np.float64], source: str) -> Bounds:
    """The box around all but the outermost of `points [n, 3]`, near and far being those of cameras `c2w [n, 3, 4]`."""
    low, high = np.percentile(points, (_OUTLIERS, 100 - _OUTLIERS), axis=0)
    margin = np.maximum(_MARGIN * (high - low), 0.01 * (high - low).max())
    box = np.stack([low - margin, high + margin])
    inside = points[((points >= box[0]) & (points <= box[1])).all(axis=1)]
    some = inside[:: max(1, len(inside) // 2000)]
    offsets = some[None] - c2w[:, None, :, 3]
    distances = np.linalg.norm(offsets, axis=2)
    # Points off to the side of a camera are not what it sees; those within 45 degrees of its axis stand for its view.
    is_ahead = (offsets * c2w[:, None, :, 2]).sum(axis=2) > np.sqrt(0.5) * distances
    seen = distances[is_ahead] if is_ahead.any() else distances.ravel()
    near = 0.5 * float(np.percentile(seen, 0.5))
    return Bounds(box, near, max(1.1 * float(np.percentile(seen, 99.5)), 2 * near), source, are_estimated=True)


def distances_to_box(aabb: NDArray[np.float64], c2w: NDArray[np.float64]) -> tuple[float, float]:
    """Distances that near and far may be for cameras `c2w [n, 3, 4]` that see a box `[2, 3]` and nothing else."""
    positions = c2w[:, :, 3]
    diagonal = float(np.linalg.norm(aabb[1] - aabb[0]))
    outside = np.maximum(np.maximum(aabb[0] - positions, positions - aabb[1]), 0)
    nearest = float(np.linalg.norm(outside, axis=1).min())
    farthest = np.linalg.norm(np.maximum(np.abs(aabb[0] - positions), np.abs(aabb[1] - positions)), axis=1).max()
    return max(0.9 * nearest, 0.01 * diagonal), float(farthest)


def _bounds_of_cameras(c2w: NDArray[np.float64], where: str) -> Bounds:
    """A cube about the point that the cameras look at, or about the cameras where they look outwards."""
    positions, forwards = c2w[:, :, 3], c2w[:, :, 2]
    spread = float(np.linalg.norm(positions - positions.mean(axis=0), axis=1).max())
    if spread < 1e-6:
        raise SceneError(
            f"{where}: all cameras stand at one place, so the scene's size cannot be estimated; check the poses, or "
            "say it with --scene_box x,y,z,x,y,z --near N --far N"
        )
    across = np.eye(3) - forwards[:, :, None] * forwards[:, None, :]
    focus = np.linalg.lstsq(across.sum(axis=0), (across @ positions[:, :, None]).sum(axis=0)[:, 0], rcond=None)[0]
    distances = np.linalg.norm(focus - positions, axis=1)
    is_aimed = ((focus - positions) * forwards).sum(axis=1) > 0.8 * distances
    if is_aimed.mean() > 0.9:
        half = float(np.median(distances))
        near, far = 0.1 * float(distances.min()), 2.0 * float(distances.max())
        source = "estimated from the cameras, which look at one point"
    else:
        focus, half = (positions.min(axis=0) + positions.max(axis=0)) / 2, 3.0 * spread
        near, far = 0.02 * half, 2.0 * np.sqrt(3.0) * half
        source = "estimated from the cameras, which look outwards: a guess of the room's size"
    return Bounds(np.stack([focus - half, focus + half]), near, far, source, are_estimated=True)
