"""Points on a scene's surfaces: features that neighbouring views share, placed by the cameras as they are."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

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
    """The features of one view: places in its image, rays in the world, descriptors."""

    rays: NDArray[np.float64]
    descriptors: NDArray[np.float32]
    pixels: NDArray[np.float64]
    projection: NDArray[np.float64]
    centre: NDArray[np.float64]


def feature_points(views: Views) -> NDArray[np.float64]:
    """Points `[n, 3]` that at least two views see, in scene units; none where images have no features in common.

    SIFT features of up to 24 views are matched with those of their neighbours and placed where their rays come nearest
    to each other. A point stays if it lies before both cameras, its rays meet at an angle of more than a degree, and it
    is seen where its features are. Wrong cameras therefore give few points, not wrong ones.
    """
    chosen = np.unique(np.linspace(0, len(views) - 1, min(_VIEWS, len(views))).round().astype(int))
    pairs = [(first, second) for first in chosen for second in neighbours(views, int(first))]
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


def neighbours(views: Views, index: int) -> list[int]:
    """Up to two views that look the same way from elsewhere: the nearest, and one farther off for its parallax."""
    c2w = views.c2w.double().cpu().numpy()
    distances = np.linalg.norm(c2w[:, :, 3] - c2w[index, :, 3], axis=1)
    is_alike = (c2w[:, :, 2] @ c2w[index, :, 2] > _WIDEST_TURN) & (distances > 0)
    by_distance = [int(other) for other in np.argsort(distances) if is_alike[other]]
    return sorted({by_distance[0], by_distance[len(by_distance) // 3]}) if by_distance else []


def _features(views: Views, index: int) -> _Seen | None:
    image = views.image_of(index).cpu().numpy()
    height, width = image.shape[:2]
    scale = min(1.0, _LONGEST_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    grey = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    keypoints, descriptors = cv2.SIFT.create(nfeatures=1500).detectAndCompute(grey, None)
    if descriptors is None or len(keypoints) < 2:
        return None
    c2w, K = (matrix[index].double().cpu().numpy() for matrix in (views.c2w, views.K))
    K = K * np.array([size[0] / width, size[1] / height, 1.0])[:, None]
    pixels = np.array([keypoint.pt for keypoint in keypoints]) + 0.5  # OpenCV counts pixel centres at integers
    rays = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1) @ np.linalg.inv(K).T @ c2w[:, :3].T
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    projection = K @ np.concatenate([c2w[:, :3].T, -c2w[:, :3].T @ c2w[:, 3:]], axis=1)
    return _Seen(rays, np.asarray(descriptors, np.float32), pixels, projection, c2w[:, 3])


def _triangulate(one: _Seen, other: _Seen) -> NDArray[np.float64]:
    matcher = cv2.BFMatcher()
    pairs = [
        (best[0].queryIdx, best[0].trainIdx)
        for best in matcher.knnMatch(one.descriptors, other.descriptors, k=2)
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
            error = np.linalg.norm(projected[:, :2] / projected[:, 2:] - view.pixels[chosen], axis=1)
        is_good &= (projected[:, 2] > 0) & (error < _REPROJECTION)
    return points[is_good]
