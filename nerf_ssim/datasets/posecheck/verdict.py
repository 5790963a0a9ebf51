"""The answer of the pose check, and how it is put in words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from nerf_ssim.datasets.corrections import Correction, correction_of
from nerf_ssim.datasets.listed_views import ListedViews
from nerf_ssim.datasets.posecheck.alternatives import Cameras, Trial, best_alternative, tried
from nerf_ssim.datasets.posecheck.epipolar import CamerasOfPairs, Matches, stacked
from nerf_ssim.datasets.posecheck.matching import find_pairs
from nerf_ssim.datasets.posecheck.units import Units, judge_units
from nerf_ssim.datasets.scene import Scene

if TYPE_CHECKING:
    from nerf_ssim.datasets.options import DataConfig

__all__ = ["Verdict", "check_poses"]

_FEWEST_PAIRS, _FEWEST_MATCHES = 3, 60
_RIGHT = 0.3  # pixels; what is below needs no alternative
_INEXACT, _INEXACT_NOISE = 1.0, 4.0  # pixels, and times the matches' own noise
_WRONG, _WRONG_SIDE = 2.0, 0.006  # pixels, and of the image's longer side
_IN_FRONT = 0.6  # of the points
_HERE, _TRAINING = (30.0, 48), (4.0, 12)  # seconds and pairs

_MISTAKES = {
    "opencv": "the matrices have OpenCV's axes (x right, y down, z forward), not OpenGL's",
    "opengl": "the matrices have OpenGL's axes (x right, y up, z back), not OpenCV's",
    "w2c": "the matrices are world-to-camera, inverted against what the layout has",
    "transposed": "the rotations are transposed",
    "w2c_position": "the positions are those of world-to-camera",
}


@dataclass(frozen=True)
class Verdict:
    """Whether a scene's images and cameras agree.

    Args:
        state: `agree`, `inexact`, `disagree`, or `cannot tell`.
        reason: why, in words.
        matches: what was looked at; None where the images have nothing in common.
        given: the cameras as they are; None without matches.
        best: the alternative that fits; None where none is needed or none does.
        units: how points on surfaces lie in the scene's bounds; None where the cameras are wrong or points are few.
        axes: `opencv` or `opengl`, those of the layout's matrices.
        asked: the corrections that options ask for already, in which case no alternative is tried.
    """

    state: str
    reason: str
    matches: Matches | None = None
    given: CamerasOfPairs | None = None
    best: Trial | None = None
    units: Units | None = None
    axes: str = "opencv"
    asked: str = ""

    @property
    def warning(self) -> str | None:
        """What is wrong and what to do, in one line; None where nothing is known to be."""
        if self.state == "disagree":
            remedy = "no usual mistake explains it"
            if self.best is not None:
                mistake = _mistake(self.best.correction, self.axes)
                remedy = f"but {self.best.pairs.error:.2f} if {mistake}; use {self.best.correction.options}"
            elif self.asked:
                remedy = f"cameras were read with {self.asked}; check without"
            return f"warning: images and cameras disagree: {self.reason}, {remedy}"
        if self.units is not None and self.units.is_sure:
            return f"warning: {_units_line(self.units)}"
        return None

    @property
    def note(self) -> str | None:
        """What a person may want to look at although it need not be wrong; None where there is nothing."""
        if self.units is not None and self.units.scale != 1.0 and not self.units.is_sure:
            return (
                f"the surfaces fill {100 * self.units.filled:.0f}% of the box; if it is not meant to be that ample, "
                f"positions are in other units: --position_scale {self.units.scale:.4g}"
            )
        return None


def check_poses(scene: Scene, data: DataConfig, *, is_training: bool = False) -> Verdict:
    """Whether a scene's images and cameras agree, by distances of matched features to epipolar lines.

    It looks for pairs of images with points in common, up to 30 seconds, or 4 before a training. No random stream is
    drawn from.

    Args:
        scene: with its images.
        data: how it was read; alternatives are tried only where no correction is asked for.
    """
    views = ListedViews(scene)
    pairs = find_pairs(views, *(_TRAINING if is_training else _HERE))
    if len(pairs) < _FEWEST_PAIRS or sum(len(pair.here) for pair in pairs) < _FEWEST_MATCHES:
        return Verdict("cannot tell", "too few features are seen in two images")
    matches = stacked(pairs)
    cameras = Cameras(views.c2w, scene.pose_axes, views.names, _middle(views))
    given = tried(matches, cameras, Correction()).pairs
    verdict = replace(_judged(given), matches=matches, given=given, axes=scene.pose_axes)
    if verdict.state == "cannot tell":
        return verdict
    if given.error <= _RIGHT and not given.in_front < _IN_FRONT:
        return replace(verdict, units=_units(given, scene))
    asked = correction_of(data)
    if asked != Correction():
        verdict = replace(verdict, asked=asked.options)
    elif (best := best_alternative(matches, cameras, with_doubles=not is_training)) is not None:
        return replace(verdict, state="disagree", reason=_distance(given), best=best)
    return verdict if verdict.state == "disagree" else replace(verdict, units=_units(given, scene))


def _units(given: CamerasOfPairs, scene: Scene) -> Units | None:
    return judge_units(*given.points(), scene.aabb.double().cpu().numpy(), scene.near, scene.far)


def _judged(given: CamerasOfPairs) -> Verdict:
    """The state of cameras by themselves."""
    if not np.isfinite(given.error):
        return Verdict("cannot tell", "all cameras that see the same stand at one place")
    noise, side = given.matches.noise, given.matches.side
    if given.in_front < 1 - _IN_FRONT:
        return Verdict("disagree", f"{_distance(given)}; the points that they see lie behind them")
    if given.error > max(_WRONG, _WRONG_SIDE * side, _INEXACT_NOISE * noise):
        return Verdict("disagree", _distance(given))
    if given.error > max(_INEXACT, _INEXACT_NOISE * noise):
        return Verdict("inexact", f"{_distance(given)}: inexact poses, or a lens that bends")
    return Verdict("agree", _distance(given))


def _distance(given: CamerasOfPairs) -> str:
    return f"features lie {given.error:.2f} pixels from their epipolar lines"


def _middle(views: ListedViews) -> float:
    """What principal points are to be multiplied by, for the middle of their images; the median over views."""
    sizes = np.array([views.size_of(index) for index in range(len(views))], np.float64)
    return float(np.median(sizes[:, ::-1] / 2 / views.K[:, :2, 2]))


def _mistake(correction: Correction, layout_axes: str) -> str:
    """A correction's mistake in words."""
    found = []
    axes, _, kind = correction.pose_convention.partition("_")
    if kind:
        found.append(_MISTAKES[kind])
    if axes in ("opencv", "opengl") and axes != layout_axes:
        found.append(_MISTAKES[axes])
    if correction.image_order != Correction.image_order:
        found.append("the images were sorted as text (1, 10, 2), the poses were not, or the other way round")
    if correction.image_shift:
        found.append(f"the images are shifted by {abs(correction.image_shift)} frames against the poses")
    if correction.focal_scale != 1.0 and correction.focal_scale == correction.principal_scale:
        found.append(f"the intrinsics are of images of another size ({1 / correction.focal_scale:.4g} of these)")
    elif correction.focal_scale != 1.0:
        found.append(f"the focal length is {1 / correction.focal_scale:.4g} of what it should be")
    if correction.principal_scale not in (1.0, correction.focal_scale):
        found.append("the principal point is of an image of another size")
    if correction.position_scale < 0:
        found.append("the positions have the wrong sign")
    return " and ".join(found)


def _units_line(units: Units) -> str:
    return (
        f"camera positions are in other units than box, near and far: {100 * units.inside:.0f}% of the points on "
        f"surfaces are in the box, of which they fill {100 * units.filled:.0f}%, and {100 * units.between:.0f}% lie "
        f"between near and far; use --position_scale {units.scale:.4g}"
    )
