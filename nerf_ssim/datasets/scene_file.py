"""What a format's reader hands over: everything about a scene but its pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerf_ssim.datasets.cameras import read_matrix
from nerf_ssim.datasets.conventions import LAYOUT
from nerf_ssim.datasets.depths import DepthFile
from nerf_ssim.datasets.json_files import member, number
from nerf_ssim.datasets.lenses import Lens
from nerf_ssim.datasets.poses import reread_poses
from nerf_ssim.errors import SceneError

__all__ = ["Bounds", "Frame", "Reading", "SceneFile", "check_bounds", "read_bounds", "refuse_farther"]

FARTHEST = 1e12  # scene units; the cube of a greater distance is infinite in float32


@dataclass(frozen=True)
class Reading:
    """How a scene's metadata is read.

    Args:
        as_published: leave out the half pixel that integer pixel centres need, as the published loader does.
        follow_links: take images that lie outside the scene's folder.
        pose_convention: what the stored matrices are, one of `POSE_CONVENTIONS`.
        position_scale: camera positions are multiplied by this.
    """

    as_published: bool = False
    follow_links: bool = False
    pose_convention: str = LAYOUT
    position_scale: float = 1.0

    def pose(self, c2w: NDArray[np.float64], axes: str = "opencv") -> NDArray[np.float64]:
        """A stored pose `[3, 4]` as OpenCV camera-to-world.

        Args:
            c2w: camera-to-world, if its layout is right about it.
            axes: `opencv` or `opengl`, those of its camera.
        """
        return reread_poses(c2w, axes, self.pose_convention) * np.array([1.0, 1.0, 1.0, self.position_scale])

    @property
    def integer_centres(self) -> str:
        """How a layout whose pixel centres are at integers was read, in words."""
        return "left as stored, as published" if self.as_published else "at integers, the layout's convention"


@dataclass(frozen=True)
class Frame:
    """One posed image of a scene, checked.

    Args:
        path: the image file.
        where: how an error names this frame (scene file, frame number, image).
        c2w: `[3, 4]`, OpenCV camera-to-world.
        K: `[3, 3]`, pixel centres at halves, for an image of `size`.
        size: height and width that the scene says the image has, in pixels; None takes the image's own, and `K` is
            then of that.
        lens: how the lens bends rays; None for a pinhole.
        mask: an image that is black where the photograph does not count; None where all of it does.
        depth: the frame's depth map; None where it has none.
    """

    path: Path
    where: str
    c2w: NDArray[np.float64]
    K: NDArray[np.float64]
    size: tuple[int, int] | None = None
    lens: Lens | None = None
    mask: Path | None = None
    depth: DepthFile | None = None


@dataclass(frozen=True)
class Bounds:
    """Where the scene is.

    Args:
        aabb: `[2, 3]`, lowest and highest corner, scene units.
        near, far: distances along a ray, scene units.
        source: where the numbers come from, in words.
        are_estimated: they were estimated from points or cameras, so that images of another size give others.
    """

    aabb: NDArray[np.float64]
    near: float
    far: float
    source: str = "the scene's file"
    are_estimated: bool = False


@dataclass(frozen=True)
class SceneFile:
    """A scene whose metadata is read and checked.

    Args:
        path: the metadata file, named in errors.
        name: the scene's name.
        label: the scene's own remark for its scores, or None.
        frames: in the order that decides the split.
        bounds: None where the layout has none; they are then estimated.
        pose_axes: `opencv` or `opengl`, the axes that the layout's matrices have; `Frame.c2w` is OpenCV's always.
        pixel_centres: where the layout's intrinsics put the centre of pixel (0, 0), in words.
        is_test: for each frame, whether it is a test view; None lets the option test_every decide.
        split: how the layout chose the test views, in words.
        hold: every so many frames is a test view where nobody says otherwise.
        sources: the metadata files whose bytes are part of the content hash; none for `path` alone.
        white_bg: the layout's images are composited on white.
        points: `[n, 3]` points on surfaces, where the layout has some, from which missing bounds are estimated.
        notes: what else a person should know of how the scene was read.
        identity: what counts for the content hash instead of those files' bytes.
    """

    path: Path
    name: str
    label: str | None
    frames: Sequence[Frame]
    bounds: Bounds | None
    pose_axes: str = "opencv"
    pixel_centres: str = "at halves"
    is_test: Sequence[bool] | None = None
    split: str = ""
    hold: int = 10
    sources: Sequence[Path] = ()
    white_bg: bool = False
    points: NDArray[np.float64] | None = None
    notes: Sequence[str] = field(default=())
    identity: bytes | None = None


def read_bounds(box: Mapping[str, Any], path: Path) -> Bounds:
    """The bounds in a file's `scene_box {aabb [2, 3], near, far}`; `estimated` says that conversion estimated them.

    Raises:
        SceneError: an entry that is missing or wrong, naming the file.
    """
    where = f"{path}: scene_box"
    aabb = read_matrix(member(box, "aabb", list, where), [(2, 3)], where, "aabb")
    near, far = number(box, "near", where), number(box, "far", where)
    check_bounds(aabb, near, far, str(path))
    if box.get("estimated") is True:
        return Bounds(aabb, near, far, "the scene's file, which has those that were estimated before conversion", True)
    return Bounds(aabb, near, far)


def check_bounds(aabb: NDArray[np.float64], near: float, far: float, where: str) -> None:
    """Raises SceneError where the box is empty or inverted, or not `0 <= near < far`, or beyond `FARTHEST`."""
    for axis, low, high in zip("xyz", *aabb, strict=True):
        if not low < high:
            state = "empty" if low == high else "inverted"
            raise SceneError(f"{where}: scene_box.aabb is {state} along {axis} ({low:.6g} to {high:.6g})")
        if not np.float32(low) < np.float32(high):
            raise SceneError(
                f"{where}: scene_box.aabb is too thin along {axis} for its distance from the origin ({low:.9g} to "
                f"{high:.9g} are one number in float32); move the scene to the origin"
            )
    if not (math.isfinite(near) and math.isfinite(far)):
        raise SceneError(f"{where}: near and far must be finite, got {near} and {far}")
    if near < 0:
        raise SceneError(f"{where}: near is {near:.6g}, it cannot be negative")
    if near >= far:
        raise SceneError(f"{where}: near ({near:.6g}) must be below far ({far:.6g})")
    refuse_farther(max(far, float(np.abs(aabb).max())), f"{where}: the scene's bounds")


def refuse_farther(distance: float, what: str) -> None:
    """Raises SceneError for a coordinate or distance beyond `FARTHEST`."""
    if not distance <= FARTHEST:
        raise SceneError(f"{what} reach {distance:.3g}, beyond {FARTHEST:g} units; scale the scene down")
