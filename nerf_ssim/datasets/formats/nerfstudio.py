"""nerfstudio's and instant-ngp's layout: one `transforms.json` that names its images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nerf_ssim.datasets.json_files import note_unknown, read_object
from nerf_ssim.datasets.ply import read_points
from nerf_ssim.datasets.scene_file import Bounds, Reading, SceneFile, read_bounds
from nerf_ssim.datasets.transforms import CAMERA_KEYS, FRAME_KEYS, FrameList, read_frames
from nerf_ssim.errors import SceneError

METADATA = "transforms.json"
FILES = METADATA

_KNOWN = (
    *("frames", "train_filenames", "val_filenames", "test_filenames", "applied_transform", "applied_scale"),
    *("ply_file_path", "orientation_override", "auto_scale_poses_override", "aabb_scale", "scale", "offset"),
    *("scene_box", "label", "white_bg", "fl_unit", "enable_depth_loading", "integer_depth_scale", *CAMERA_KEYS),
)


def detect(folder: Path) -> bool:
    """Whether `folder` has this layout's metadata."""
    return (folder / METADATA).exists()


def read(folder: Path, how: Reading) -> SceneFile:
    """Read and check `folder/transforms.json`; of images only headers are opened.

    Cameras are at the top of the file or in each frame: `fl_x fl_y cx cy w h`, `camera_angle_x`, a `camera_model` and
    lens coefficients. Poses are OpenGL camera-to-world; pixel centres are at halves. Images that are named but missing
    are left out, as instant-ngp does, and counted. The test views are the file's `test_filenames`, else its
    `val_filenames`. The box is the file's own `scene_box` (which `data convert` writes), else it is estimated from the
    file's points (`ply_file_path`) or the images.

    Raises:
        SceneError: anything missing or wrong, naming the file and the frame.
    """
    path = folder / METADATA
    metadata = read_object(path, "nerfstudio's layout", "frames and their cameras")
    found = read_frames(metadata, path, how)
    notes = list(note_unknown(metadata, _KNOWN, METADATA))
    notes += note_unknown({key for entry in metadata["frames"] for key in entry}, FRAME_KEYS, "a frame")
    if found.missing:
        notes.append(
            f"{len(found.missing)} of the {len(metadata['frames'])} images named are missing and left out, such as "
            f"{found.missing[0]}"
        )
    is_test, split = _split(metadata, found)
    label = metadata.get("label")
    return SceneFile(
        path,
        folder.resolve().name,
        label if isinstance(label, str) else None,
        found.frames,
        _bounds(metadata, path),
        pose_axes="opengl",
        pixel_centres="at halves, the layout's convention",
        is_test=is_test,
        split=split,
        white_bg=metadata.get("white_bg") is True,
        points=_points(metadata, folder, notes),
        notes=notes,
    )


def _split(metadata: Mapping[str, Any], found: FrameList) -> tuple[list[bool] | None, str]:
    """Test views by the file's lists of names; None where it has none."""
    for key in ("test_filenames", "val_filenames"):
        names = metadata.get(key)
        if isinstance(names, list) and any(name in names for name in found.names):
            wanted = {name for name in names if isinstance(name, str)}
            return [name in wanted for name in found.names], f"the file's {key}"
    return None, ""


def _bounds(metadata: Mapping[str, Any], path: Path) -> Bounds | None:
    box = metadata.get("scene_box")
    if not isinstance(box, dict) or not {"aabb", "near", "far"} <= set(box):
        return None
    return read_bounds(box, path)


def _points(metadata: Mapping[str, Any], folder: Path, notes: list[str]) -> np.ndarray | None:
    """The points of `ply_file_path`, where that can be read: they only serve to estimate bounds."""
    name = metadata.get("ply_file_path")
    if not isinstance(name, str) or metadata.get("scene_box") is not None:
        return None
    try:
        return read_points(folder / name)
    except SceneError as error:
        notes.append(f"the points of ply_file_path are left out: {error}")
        return None
