"""Which features of a scene's images are the same points of the world, judged by the images alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from nerf_ssim.datasets.features import Features, find_features
from nerf_ssim.datasets.listed_views import ListedViews
from nerf_ssim.datasets.surfaces import neighbours

__all__ = ["MatchedPair", "find_pairs"]

_LONGEST_SIDE = 480  # pixels; features of larger images cost more and lie no better
_MOST_FEATURES = 800
_RATIO = 0.8  # of the best match's distance to the second best's (Lowe 2004); each must be the other's best besides
_RANSAC = 1.0  # pixels
_FEWEST = 16  # matches that agree with each other, for a pair that is no accident
_AGREEING = 0.5  # of the matches
_MOVED = 0.012  # of the image's longer side: features that move less say little of the cameras
_OF_ONE = 2  # pairs that are taken of one image
_ENOUGH = 8  # pairs, for which the search among all images is spared
_FARTHEST = 64  # frames, for images of a slow camera


@dataclass(frozen=True)
class MatchedPair:
    """Two images that show the same points.

    Args:
        first, second: places of the images in the scene's list.
        here, there: `[n, 2]`, the points in each image as it was searched, pixels; centres at halves.
        K: `[2, 3, 3]`, the intrinsics of the searched images.
        noise: the median distance in pixels of these points to the epipolar lines that fit them best.
        sizes: width and height of the searched images, pixels.
    """

    first: int
    second: int
    here: NDArray[np.float64]
    there: NDArray[np.float64]
    K: NDArray[np.float64]
    noise: float
    sizes: tuple[tuple[int, int], tuple[int, int]]

    @property
    def side(self) -> float:
        """The longer side of the first searched image, pixels."""
        return float(max(self.sizes[0]))

    @property
    def moved(self) -> float:
        """How far the points moved in the image, the median in pixels."""
        return float(np.median(np.linalg.norm(self.here - self.there, axis=1)))


def find_pairs(views: ListedViews, seconds: float, most: int) -> list[MatchedPair]:
    """Pairs of images with points in common, spread over the scene.

    Candidates are images that follow each other in the scene's list, those whose cameras are said to be neighbours, and
    where these give too little, all pairs of some. A pair's matches must fit one epipolar geometry, whichever it is:
    the cameras have no say in this, so that right images are found with wrong cameras too.

    Args:
        views: the scene's images in the order of its list.
        seconds: after which no new pair is looked at.
        most: pairs after which the search ends.
    """
    search = _Search(views, time.monotonic() + seconds, most)
    for anchor in _spread(len(views)):
        search.follow(anchor)
    if len(search.found) < _ENOUGH:
        some = np.unique(np.linspace(0, len(views) - 1, min(24, len(views))).round().astype(int)).tolist()
        for gap in range(1, len(some)):
            for first, second in zip(some, some[gap:], strict=False):
                search.look(first, second)
    return search.found


class _Search:
    """What was looked at and found; once there are enough pairs, or its time is over, it does nothing more."""

    def __init__(self, views: ListedViews, deadline: float, most: int) -> None:
        self.views, self.deadline, self.most = views, deadline, most
        self.found: list[MatchedPair] = []
        self._features: dict[int, Features | None] = {}
        self._tried: set[tuple[int, int]] = set()

    def follow(self, anchor: int) -> None:
        """Looks at frames ever farther on while they show the same, then at those of neighbouring cameras."""
        before, step = len(self.found), 1
        while step <= _FARTHEST and anchor + step < len(self.views) and len(self.found) < before + _OF_ONE:
            if not self.look(anchor, anchor + step):
                break
            step *= 2
        for other in neighbours(self.views.c2w, anchor):
            if len(self.found) < before + _OF_ONE:
                self.look(anchor, other)

    def look(self, first: int, second: int) -> bool:
        """Whether two images show the same; if their points move as well, the pair is taken."""
        key = min(first, second), max(first, second)
        if key in self._tried or len(self.found) >= self.most or time.monotonic() > self.deadline:
            return False
        self._tried.add(key)
        one, other = (self._features_of(index) for index in key)
        pair = None if one is None or other is None else _verified(*key, one, other)
        if pair is not None and pair.moved > max(1.5, _MOVED * pair.side):
            self.found.append(pair)
        return pair is not None

    def _features_of(self, index: int) -> Features | None:
        if index not in self._features:
            self._features[index] = find_features(
                self.views.image_of(index).cpu().numpy(), self.views.K[index], _LONGEST_SIDE, _MOST_FEATURES
            )
        return self._features[index]


def _spread(count: int) -> Sequence[int]:
    """0 … count - 1 so that any beginning of it is spread evenly (van der Corput 1935)."""
    bits = max(1, (count - 1).bit_length())
    return [place for index in range(1 << bits) if (place := int(f"{index:0{bits}b}"[::-1], 2)) < count]


def _verified(first: int, second: int, one: Features, other: Features) -> MatchedPair | None:
    """The matches of two images that agree with one epipolar geometry; None where too few do."""
    places = _alike(one.descriptors, other.descriptors)
    if len(places[0]) < _FEWEST:
        return None
    here, there = one.pixels[places[0]], other.pixels[places[1]]
    geometry, mask = cv2.findFundamentalMat(here, there, cv2.FM_RANSAC, _RANSAC, 0.999, 2000)
    if geometry is None or geometry.shape != (3, 3) or mask is None:
        return None
    agrees = mask.ravel() > 0
    if agrees.sum() < max(_FEWEST, _AGREEING * len(here)):
        return None
    here, there = here[agrees], there[agrees]
    K = np.stack([one.K, other.K])
    return MatchedPair(
        first, second, here, there, K, _noise(np.asarray(geometry, np.float64), here, there), (one.size, other.size)
    )


def _alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Places of descriptors `[n, 128]` that are each other's nearest, and clearly nearer than the second nearest."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    order = np.argpartition(squares, 1, axis=1)[:, :2]
    both = np.take_along_axis(squares, order, axis=1)
    nearest = order[np.arange(len(one)), both.argmin(axis=1)]
    is_clear = both.min(axis=1) < _RATIO**2 * both.max(axis=1)
    chosen = np.flatnonzero(is_clear & (squares.argmin(axis=0)[nearest] == np.arange(len(one))))
    return chosen, nearest[chosen]


def _noise(F: NDArray[np.float64], here: NDArray[np.float64], there: NDArray[np.float64]) -> float:
    lines = np.concatenate([here, np.ones((len(here), 1))], axis=1) @ F.T
    product = (lines[:, :2] * there).sum(axis=1) + lines[:, 2]
    return float(np.median(np.abs(product) / np.maximum(np.linalg.norm(lines[:, :2], axis=1), 1e-12)))
