"""Do cameras explain which points of two images are the same? Distances to epipolar lines, points by triangulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nerf_ssim.datasets.posecheck.matching import MatchedPair

__all__ = ["CamerasOfPairs", "Matches", "stacked"]

_MOST = 64  # matches of a pair; more make its median no better
_PARALLAX = np.deg2rad(1.0)  # rays that meet at less do not say on which side of the cameras they meet
_FEWEST_IN_FRONT = 20  # points, for a share of them that means something
_NO_BASELINE = 1e-6  # of the cameras' spread


@dataclass(frozen=True)
class Matches:
    """Matches of many pairs in one array, so that hundreds of cameras are tried in a second.

    Args:
        pairs: where they come from.
        images: `[2, pairs]`, the places of each pair's images.
        K: `[2, pairs, 3, 3]`, intrinsics of the searched images.
        pixels: `[2, pairs, m, 3]`, homogeneous pixels in both images; NaN behind a pair's last match.
    """

    pairs: Sequence[MatchedPair]
    images: NDArray[np.intp]
    K: NDArray[np.float64]
    pixels: NDArray[np.float64]

    @property
    def noise(self) -> float:
        """The distance in pixels of points to the epipolar lines that fit them best, the median over pairs."""
        return float(np.median([pair.noise for pair in self.pairs]))

    @property
    def side(self) -> float:
        """The longer side of the searched images, pixels."""
        return max(pair.side for pair in self.pairs)

    @property
    def count(self) -> int:
        """Matches in all, those that were left out for speed included."""
        return sum(len(pair.here) for pair in self.pairs)


def stacked(pairs: Sequence[MatchedPair]) -> Matches:
    """The matches of `pairs`, at least one, in one array; of a pair at most 64, evenly taken."""
    pixels = np.full((2, len(pairs), _MOST, 3), np.nan)
    for place, pair in enumerate(pairs):
        taken = np.unique(np.linspace(0, len(pair.here) - 1, _MOST).round().astype(int))
        for side, points in enumerate((pair.here, pair.there)):
            pixels[side, place, : len(taken), :2] = points[taken]
            pixels[side, place, : len(taken), 2] = 1.0
    images = np.array([[pair.first for pair in pairs], [pair.second for pair in pairs]])
    return Matches(pairs, images, np.stack([pair.K for pair in pairs], axis=1), pixels)


class CamerasOfPairs:
    """The cameras of each pair's images, and how well they explain its matches.

    Args:
        matches: of the pairs.
        c2w: `[images, 3, 4]`, OpenCV camera-to-world.
        K: `[2, pairs, 3, 3]`, intrinsics of the searched images.
    """

    def __init__(self, matches: Matches, c2w: NDArray[np.float64], K: NDArray[np.float64]) -> None:
        self.matches = matches
        self.first, self.second = (c2w[index] for index in matches.images)
        # A point X of the first camera is at R X + t in the second one's coordinates.
        turned = np.swapaxes(self.second[:, :, :3], 1, 2)
        self.R = turned @ self.first[:, :, :3]
        self.t = (turned @ (self.first[:, :, 3:] - self.second[:, :, 3:]))[:, :, 0]
        self.inverse = np.linalg.inv(K)
        self._spread = float(np.ptp(c2w[:, :, 3], axis=0).max())

    @cached_property
    def fundamental(self) -> NDArray[np.float64]:
        """`[pairs, 3, 3]`, which turn a pixel of a pair's first image into its line in the second one."""
        return np.swapaxes(self.inverse[1], 1, 2) @ _cross(self.t) @ self.R @ self.inverse[0]

    @cached_property
    def by_pair(self) -> NDArray[np.float64]:
        """`[pairs]`, the median distance in pixels of a pair's points to their epipolar lines; NaN where the pair's
        cameras stand at one place."""
        F, (here, there) = self.fundamental, self.matches.pixels
        lines_there, lines_here = here @ np.swapaxes(F, 1, 2), there @ F
        product = np.abs((lines_there * there).sum(axis=2))
        with np.errstate(divide="ignore", invalid="ignore"):
            distances = product * (_inverse_length(lines_there) + _inverse_length(lines_here)) / 2
        ordered = np.sort(distances, axis=1)  # NaN comes last
        rows, middle = np.arange(len(ordered)), (~np.isnan(ordered)).sum(axis=1) - 1
        medians = (ordered[rows, middle // 2] + ordered[rows, (middle + 1) // 2]) / 2
        is_still = np.linalg.norm(self.t, axis=1) <= max(_NO_BASELINE * self._spread, 1e-12)
        return np.where(is_still, np.nan, medians)

    @cached_property
    def error(self) -> float:
        """The median over pairs, pixels; NaN where all cameras stand at one place."""
        known = self.by_pair[np.isfinite(self.by_pair)]
        return float(np.median(known)) if len(known) else float("nan")

    @cached_property
    def in_front(self) -> float:
        """The share of points before both cameras, of those whose rays meet at more than a degree; NaN where these are
        few."""
        depths, sine = self._depths
        is_wide = sine > np.sin(_PARALLAX)
        enough = is_wide.sum() >= _FEWEST_IN_FRONT
        is_before = np.all(depths > 0, axis=0)
        return float(np.mean(is_before, where=is_wide)) if enough else float("nan")

    def points(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """World points `[n, 3]` where rays meet before both cameras at more than a degree, and their distances `[n]`
        from the first camera."""
        depths, sine = self._depths
        is_good = (depths > 0).all(axis=0) & (sine > np.sin(_PARALLAX))
        in_camera = self._rays(0) * depths[0][..., None]
        points = in_camera @ np.swapaxes(self.first[:, :, :3], 1, 2) + self.first[:, None, :, 3]
        return points[is_good], depths[0][is_good]

    @cached_property
    def _depths(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Distances `[2, pairs, m]` along both rays of where they come nearest to each other, and the sine
        `[pairs, m]` of their angle."""
        a, b = self._rays(0) @ np.swapaxes(self.R, 1, 2), self._rays(1)
        between = -self.t[:, None]  # from the first camera to the second, in the second one's axes
        cosine = (a * b).sum(axis=2)
        sine2 = np.maximum(1 - cosine**2, 1e-12)
        along_a, along_b = (a * between).sum(axis=2), (b * between).sum(axis=2)
        return np.stack([along_a - cosine * along_b, cosine * along_a - along_b]) / sine2, np.sqrt(sine2)

    def _rays(self, side: int) -> NDArray[np.float64]:
        """Unit directions `[pairs, m, 3]` of the points in one of the cameras' own axes."""
        rays = self.matches.pixels[side] @ np.swapaxes(self.inverse[side], 1, 2)
        return rays / np.linalg.norm(rays, axis=2, keepdims=True)


def _inverse_length(lines: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / np.linalg.norm(lines[:, :, :2], axis=2)


def _cross(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrices `[n, 3, 3]` that multiply by `t [n, 3]` as a cross product."""
    x, y, z = t.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
