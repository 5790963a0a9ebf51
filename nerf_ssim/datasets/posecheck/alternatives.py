"""The usual mistakes in a scene's cameras, each with the correction that undoes it, tried on matched features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from nerf_ssim.datasets.conventions import IMAGE_ORDERS, POSE_CONVENTIONS
from nerf_ssim.datasets.corrections import Correction, image_sources, scaled_intrinsics
from nerf_ssim.datasets.posecheck.epipolar import CamerasOfPairs, Matches
from nerf_ssim.datasets.poses import reread_poses

__all__ = ["Cameras", "Trial", "best_alternative", "is_clearly_better"]

_MOST_SHIFTS = 400  # of a long sequence
_FOCAL_STEPS = 2.0 ** (np.arange(-12, 13) / 4)  # an eighth to eight times
_SAME_FOCAL = 1.25  # a focal length that is this much off at most is inexact, not wrong
_SAME_PRINCIPAL = 1.15
_HALF_THE_ERROR = 0.5
_MOST_PAIRS = 0.75  # that an alternative must explain better
_CLEARLY = 0.75  # of a pair's error, for a better one
_BEFORE_CAMERAS = 0.7  # of the points
_FITTING = 1.0  # pixels; cameras that are right to this fit
_FITTING_NOISE = 4.0  # times the matches' own noise, which may be more than that
_ROUND = (0.125, 0.25, 1 / 3, 0.5, 2 / 3, 1.5, 2.0, 3.0, 4.0, 8.0)
_ROUNDED = 0.05


@dataclass(frozen=True)
class Cameras:
    """A scene's cameras as they are read.

    Args:
        c2w: `[images, 3, 4]`, OpenCV camera-to-world, in the order of the scene's list.
        axes: `opencv` or `opengl`, the axes of its stored matrices.
        names: the images' names.
        middle: what principal points are to be multiplied by to lie in the images' middle.
    """

    c2w: NDArray[np.float64]
    axes: str
    names: Sequence[str]
    middle: float


@dataclass(frozen=True)
class Trial:
    """A correction, and the cameras of the pairs with it."""

    correction: Correction
    pairs: CamerasOfPairs


def best_alternative(matches: Matches, cameras: Cameras, *, with_doubles: bool = True) -> Trial | None:
    """The correction with which cameras explain the matches, if there is one that is clearly better than none.

    Single corrections are tried first, then, `with_doubles`, two together: a pose convention with an order of the
    images or with other intrinsics.
    """
    given = tried(matches, cameras, Correction())
    conventions = [Correction(pose_convention=name) for name in POSE_CONVENTIONS[1:] if name != cameras.axes]
    orders = list(_orders(cameras.names))
    intrinsics = [
        Correction(focal_scale=float(focal), principal_scale=principal)
        for principal in _principal_scales(cameras)
        for focal in (_FOCAL_STEPS if principal == 1.0 else (1.0, principal))
        if (focal, principal) != (1.0, 1.0)
    ]
    singles = chain(conventions, [Correction(position_scale=-1.0)], orders, intrinsics)
    doubles = (
        replace(other, pose_convention=one.pose_convention) for one in conventions for other in (*orders, *intrinsics)
    )
    for corrections in (singles, doubles) if with_doubles else (singles,):
        trials = (tried(matches, cameras, correction) for correction in corrections)
        fitting = [trial for trial in trials if is_clearly_better(trial.pairs, given.pairs)]
        if fitting:
            best = min(fitting, key=lambda trial: trial.pairs.error)
            best = _refined(matches, cameras, best)
            return best if _is_no_trifle(best.correction) else None
    return None


def tried(matches: Matches, cameras: Cameras, correction: Correction) -> Trial:
    """The cameras of the pairs with a correction."""
    c2w = reread_poses(cameras.c2w, cameras.axes, correction.pose_convention)
    c2w = c2w * np.array([1.0, 1.0, 1.0, correction.position_scale])
    sources = image_sources(cameras.names, correction.image_order, correction.image_shift)
    of_image = np.argsort(sources)  # a pose's image becomes an image's pose
    K = scaled_intrinsics(matches.K, correction.focal_scale, correction.principal_scale)
    return Trial(correction, CamerasOfPairs(matches, c2w[of_image], K))


def is_clearly_better(new: CamerasOfPairs, old: CamerasOfPairs) -> bool:
    """Whether cameras fit, and explain most pairs much better than others do."""
    if not new.error <= max(_FITTING, _FITTING_NOISE * new.matches.noise):
        return False
    if new.in_front < _BEFORE_CAMERAS:
        return False
    if old.in_front < 1 - _BEFORE_CAMERAS and new.error <= 1.5 * old.error:
        return True  # all points lie behind the old cameras, which distances to lines do not tell
    known = np.isfinite(new.by_pair) & np.isfinite(old.by_pair)
    if not known.any() or not new.error < _HALF_THE_ERROR * old.error:
        return False
    return float((new.by_pair[known] < _CLEARLY * old.by_pair[known]).mean()) >= _MOST_PAIRS


def _orders(names: Sequence[str]) -> Iterator[Correction]:
    """Each way to give the images to the poses that differs from the listed one, once."""
    count = len(names)
    known = {tuple(range(count))}
    half = min(count - 1, _MOST_SHIFTS) // 2
    shifts = [shift for size in range(1, half + 2) for shift in (size, -size)]
    for order, shift in (*((IMAGE_ORDERS[0], shift) for shift in shifts), *((order, 0) for order in IMAGE_ORDERS[1:])):
        sources = tuple(image_sources(names, order, shift))
        if sources not in known:
            known.add(sources)
            yield Correction(image_order=order, image_shift=shift)


def _principal_scales(cameras: Cameras) -> list[float]:
    scales = [1.0, 0.5, 2.0]
    if not 1 / _SAME_PRINCIPAL < cameras.middle < _SAME_PRINCIPAL:
        scales.append(_rounded(cameras.middle))
    return sorted(set(scales), key=scales.index)


def _refined(matches: Matches, cameras: Cameras, trial: Trial) -> Trial:
    """The trial with a focal length between the steps that were tried, rounded where a simple factor does as well."""
    correction = trial.correction
    if correction.focal_scale in (1.0, correction.principal_scale):
        return trial

    def at(focal: float) -> Trial:
        return tried(matches, cameras, replace(correction, focal_scale=float(focal)))

    best = _least(at, correction.focal_scale)
    rounded = at(_rounded(best.correction.focal_scale))
    return rounded if rounded.pairs.error <= 1.3 * best.pairs.error else best


def _least(at: Callable[[float], Trial], focal: float) -> Trial:
    return min((at(focal * 2.0**step) for step in np.linspace(-0.25, 0.25, 21)), key=lambda trial: trial.pairs.error)


def _rounded(scale: float) -> float:
    near = [value for value in _ROUND if abs(scale / value - 1) < _ROUNDED]
    return near[0] if near else float(f"{scale:.3g}")


def _is_no_trifle(correction: Correction) -> bool:
    """False where only a focal length that is somewhat inexact is corrected."""
    only_focal = correction == Correction(focal_scale=correction.focal_scale)
    return not only_focal or not 1 / _SAME_FOCAL < correction.focal_scale < _SAME_FOCAL
