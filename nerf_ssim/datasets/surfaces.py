"""Points on a scene's surfaces: features that neighbouring views share, placed by the cameras as they are."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from nerf_ssim.datasets.features import Features, find_features
from nerf_ssim.datasets.scene import Views

__all__ = ["feature_points", "neighbours"]

_LONGEST_SIDE = 480  # pixels; features of larger images cost more and place points no better for a box
_VIEWS = 24  # that are matched, evenly spaced
_RATIO = 0.75  # of the best match's distance to the second best's (Lowe 2004)
_REPROJECTION = 2.0  # pixels of the shrunk image
_PARALLAX = np.deg2rad(1.0)  # rays that meet at less place a point badly in depth
_WIDEST_TURN = np.cos(np.deg2rad(35.0))  # features look alike in views that are turned by no more


@dataclass(frozen=True)
class _Seen:
    """The features of one view, and their rays in the world."""

    features: Features
    rays: NDArray[np.float64]
    projection: NDArray[np.float64]
    centre: NDArray[np.float64]


def feature_points(views: Views) -> NDArray[np.float64]:
    """Points `[n, 3]` that at least two views see, in scene units; none where images have no features in common.

    SIFT features of up to 24 views are matched with those of their neighbours and placed where their rays come nearest
    to each other. A point stays if it lies before both cameras, its rays meet at an angle of more than a degree, and it
    is seen where its features are. Wrong cameras therefore give few points, not wrong ones.
    """
    chosen = np.unique(np.linspace(0, len(views) - 1, min(_VIEWS, len(views))).round().astype(int))
    c2w = views.c2w.double().cpu().numpy()
    pairs = [(first, second) for first in chosen for second in neighbours(c2w, int(first))]
    seen: dict[int, _Seen | None] = {}
    found = []
    for first, second in pairs:
        for index in (first, second):
            if index not in seen:
                seen[index] = _features(views, index)
        one, other = seen[first], seen[second]
        if one is not None and other is not None:
            found.append(_triangulate(one, other))
    return np.concatenate(found) if found else np.zeros((0, 3))


def neighbours(c2w: NDArray[np.float64], index: int) -> list[int]:
    """Up to two of the cameras `[n, 3, 4]` that look the same way as one of them from elsewhere: the nearest, and one
    farther off for its parallax."""
    distances = np.linalg.norm(c2w[:, :, 3] - c2w[index, :, 3], axis=1)
    is_alike = (c2w[:, :, 2] @ c2w[index, :, 2] > _WIDEST_TURN) & (distances > 0)
    by_distance = [int(other) for other in np.argsort(distances) if is_alike[other]]
    return sorted({by_distance[0], by_distance[len(by_distance) // 3]}) if by_distance else []


def _features(views: Views, index: int) -> _Seen | None:
    c2w, K = (matrix[index].double().cpu().numpy() for matrix in (views.c2w, views.K))
    found = find_features(views.image_of(index).cpu().numpy(), K, _LONGEST_SIDE)
    if found is None:
        return None
    pixels = found.pixels
    rays = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1) @ np.linalg.inv(found.K).T @ c2w[:, :3].T
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    projection = found.K @ np.concatenate([c2w[:, :3].T, -c2w[:, :3].T @ c2w[:, 3:]], axis=1)
    return _Seen(found, rays, projection, c2w[:, 3])


def _triangulate(one: _Seen, other: _Seen) -> NDArray[np.float64]:
    matcher = cv2.BFMatcher()
    pairs = [
        (best[0].queryIdx, best[0].trainIdx)
        for best in matcher.knnMatch(one.features.descriptors, other.features.descriptors, k=2)
        if len(best) == 2 and best[0].distance < _RATIO * best[1].distance
    ]
    if not pairs:
        return np.zeros((0, 3))
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    a, b = one.rays[first], other.rays[second]
    # The points nearest to each other on the two rays: s along the first, t along the second.
    between, cosine = other.centre - one.centre, (a * b).sum(axis=1)
    sine2 = np.maximum(1 - cosine**2, 1e-12)
    s = ((a @ between) - cosine * (b @ between)) / sine2
    t = (cosine * (a @ between) - (b @ between)) / sine2
    points = (one.centre + s[:, None] * a + other.centre + t[:, None] * b) / 2
    is_good = (s > 0) & (t > 0) & (sine2 > np.sin(_PARALLAX) ** 2)
    for view, chosen in ((one, first), (other, second)):
        projected = points @ view.projection[:, :3].T + view.projection[:, 3]
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.linalg.norm(projected[:, :2] / projected[:, 2:] - view.features.pixels[chosen], axis=1)
        is_good &= (projected[:, 2] > 0) & (error < _REPROJECTION)
    return points[is_good]
