"""What Blender's, nerfstudio's and instant-ngp's `transforms*.json` have in common: cameras, poses and image names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerf_ssim.datasets.camera_models import LENS_KEYS, lens_of_keys
from nerf_ssim.datasets.cameras import check_intrinsics, check_pose, fitted_intrinsics, read_matrix
from nerf_ssim.datasets.image_headers import ImageHeader, read_header
from nerf_ssim.datasets.images import read_image
from nerf_ssim.datasets.json_files import given_number, member
from nerf_ssim.datasets.paths import existing_image, find_image
from nerf_ssim.datasets.poses import opencv_from_opengl
from nerf_ssim.datasets.scene_file import Frame, Reading
from nerf_ssim.errors import SceneError

__all__ = ["CAMERA_KEYS", "FRAME_KEYS", "FrameList", "read_frames"]

CAMERA_KEYS = (
    *("camera_model", "is_fisheye", "w", "h", "fl_x", "fl_y", "cx", "cy", "camera_angle_x", "camera_angle_y"),
    *LENS_KEYS,
)
"""Entries that describe a camera, at the top of the file or in a frame."""

FRAME_KEYS = (
    *("file_path", "transform_matrix", "mask_path", "depth_file_path", "colmap_im_id", "sharpness", "rotation"),
    *("timestamp", "time", "camera_id", "normal_file_path", "distortion_params", *CAMERA_KEYS),
)
"""Entries that a frame may have."""


@dataclass(frozen=True)
class FrameList:
    """The frames of a file whose images are there, and the names of those that are not."""

    frames: Sequence[Frame]
    names: Sequence[str]
    missing: Sequence[str]


def read_frames(metadata: Mapping[str, Any], path: Path, how: Reading) -> FrameList:
    """The frames of a `transforms*.json`. Their cameras look along -z with y up (OpenGL), and pixel centres are at
    halves.

    Args:
        metadata: the file's object.
        path: the file, from whose folder images are looked for.
    Returns:
        Frames in the file's order, each with the `file_path` that it has there.
    Raises:
        SceneError: an entry that is missing or wrong, naming the frame.
    """
    frames, names, missing = [], [], []
    for index, entry in enumerate(member(metadata, "frames", list, str(path))):
        where = f"{path}: frame {index}"
        if not isinstance(entry, dict):
            raise SceneError(f"{where}: must be an object, got {type(entry).__name__}")
        name = member(entry, "file_path", str, where)
        where = f"{where} ({name if name.isprintable() and name else repr(name)})"
        image = existing_image(find_image(path.parent, name, where, key="file_path", follow_links=how.follow_links))
        if image is None:
            missing.append(name)
            continue
        # A name without a suffix may lead to a link, which only the whole name shows.
        find_image(path.parent, _relative(image, path.parent), where, key="file_path", follow_links=how.follow_links)
        pose = read_matrix(member(entry, "transform_matrix", list, where), [(4, 4), (3, 4)], where, "transform_matrix")
        c2w = how.pose(opencv_from_opengl(check_pose(pose, where, "transform_matrix")), "opengl")
        mask = None
        if entry.get("mask_path") is not None:
            given = member(entry, "mask_path", str, where)
            mask = find_image(path.parent, given, where, key="mask_path", follow_links=how.follow_links)
        entry = _with_lens(entry, where)
        K, size = _camera((entry, metadata), read_header(image, where), image, where)
        model = entry.get("camera_model", metadata.get("camera_model"))
        if entry.get("is_fisheye", metadata.get("is_fisheye")) is True:
            model = "OPENCV_FISHEYE"
        lens = lens_of_keys(model, (entry, metadata), where)
        frames.append(Frame(image, where, c2w, check_intrinsics(K, *size, where), size, lens, mask))
        names.append(name)
    if missing and not frames:
        raise SceneError(
            f"{path}: none of the {len(missing)} images that it names is there, such as {missing[0]}; is this file "
            "where the data set has it?"
        )
    return FrameList(frames, names, missing)


def _camera(
    entries: Sequence[Mapping[str, Any]], header: ImageHeader | None, image: Path, where: str
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Intrinsics, and the height and width that they are for; what is not given is taken from the image."""
    width, height = (given_number(entries, key, where) for key in ("w", "h"))
    if header is None and (width is None or height is None):
        header = ImageHeader(*read_image(image).shape[:2])
    for key, side in (("w", width), ("h", height)):
        if side is not None and side < 0.5:
            raise SceneError(f"{where}: {key} must be at least 1 pixel, got {side:g}")
    said = (round(height or 0), round(width or 0)) if width and height or header is None else header.size
    focal = [
        _focal(entries, key, angle, extent, where)
        for key, angle, extent in (("fl_x", "camera_angle_x", said[1]), ("fl_y", "camera_angle_y", said[0]))
    ]
    has_own_y = any(entry.get("fl_y") is not None for entry in entries)
    if focal[0] is None or not has_own_y and any(entry.get("fl_x") is not None for entry in entries):
        # One focal length is that of both axes: pixels are square unless two say otherwise.
        focal = [focal[0] or focal[1]] * 2
    if focal[0] is None:
        raise SceneError(f"{where}: has no focal length; fl_x or camera_angle_x is needed")
    K = np.eye(3)
    K[0, 0], K[1, 1] = focal[0], focal[1] or focal[0]
    for axis, key in ((0, "cx"), (1, "cy")):
        given = given_number(entries, key, where)
        K[axis, 2] = said[1 - axis] / 2 if given is None else given
    return fitted_intrinsics(K, said, header)


def _focal(entries: Sequence[Mapping[str, Any]], key: str, angle_key: str, extent: int, where: str) -> float | None:
    """A focal length in pixels, as it is given or by the field of view in radians over an image's width or height."""
    focal, angle = given_number(entries, key, where), given_number(entries, angle_key, where)
    if focal is not None:
        if focal <= 0:
            raise SceneError(f"{where}: {key} must be a positive focal length in pixels, got {focal:g}")
        return focal
    if angle is None:
        return None
    if not 0 < angle < math.pi:
        raise SceneError(f"{where}: {angle_key} must be between 0 and pi radians, got {angle:g} (is it in degrees?)")
    return extent / 2 / math.tan(angle / 2)


def _with_lens(entry: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """The frame's entry whose `distortion_params`, nerfstudio's list `k1 k2 k3 k4 p1 p2`, have their own names."""
    given = entry.get("distortion_params")
    if given is None:
        return entry
    names = ("k1", "k2", "k3", "k4", "p1", "p2")
    if not isinstance(given, list) or len(given) != len(names):
        raise SceneError(f"{where}: distortion_params must be a list of six numbers, {' '.join(names)}")
    return {**entry, **dict(zip(names, given, strict=True))}


def _relative(image: Path, folder: Path) -> str:
    return str(image.relative_to(folder)) if image.is_relative_to(folder) else str(image)
