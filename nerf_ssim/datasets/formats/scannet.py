"""ScanNet's layout as its exporter writes it: `color/`, `pose/` and `intrinsic/`, depth beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerf_ssim.datasets.cameras import check_intrinsics, check_pose, fitted_intrinsics
from nerf_ssim.datasets.depth_points import points_of_depth
from nerf_ssim.datasets.formats.nsvf import size_of_centre
from nerf_ssim.datasets.image_headers import ImageHeader, read_header
from nerf_ssim.datasets.numbered import number_of, sorted_by_number
from nerf_ssim.datasets.paths import find_image, list_images
from nerf_ssim.datasets.scene_file import Frame, Reading, SceneFile
from nerf_ssim.datasets.text_files import read_matrix_file
from nerf_ssim.errors import SceneError

FILES = "color/, pose/ and intrinsic_color.txt"

_COLOR = "intrinsic_color.txt"
_SENSOR = (968, 1296)  # height and width of the colour camera's images as they were taken
_DEPTH_UNITS = 1000.0  # a metre


def detect(folder: Path) -> bool:
    """Whether `folder` has this layout's folders and intrinsics."""
    return all((folder / name).is_dir() for name in ("color", "pose")) and _intrinsics_of(folder) is not None


def read(folder: Path, how: Reading) -> SceneFile:
    """Read and check poses and intrinsics; of images only headers are opened.

    `color/i.jpg` belongs to `pose/i.txt`, an OpenCV camera-to-world; poses that are not finite, which mark frames where
    tracking was lost, are left out and counted. The intrinsics are those of the colour camera, scaled where the images
    were resized, with pixel centres at integers; half a pixel is added here. The box is estimated from the depth maps.

    Raises:
        SceneError: anything missing or wrong, naming the file and the frame.
    """
    path = _intrinsics_of(folder)
    if path is None:
        raise SceneError(f"{folder}: has no {_COLOR}, in intrinsic/ or beside it")
    stored = read_matrix_file(path, ((4, 4), (3, 3)), str(path))[:3, :3]
    K = stored.copy()
    K[:2, 2] += 0.0 if how.as_published else 0.5
    frames, depths, poses, lost, without = [], [], [], 0, 0
    by_number = {number_of(file.name): file for file in sorted((folder / "pose").glob("*.txt"))}
    for image_path in sorted_by_number(list_images(folder / "color")):
        where = f"{folder}: frame {image_path.stem}"
        pose_path = folder / "pose" / f"{image_path.stem}.txt"
        if not pose_path.exists():  # the two may be numbered with other zeros in front
            pose_path = by_number.get(number_of(image_path.name), pose_path)
        if not pose_path.exists():
            without += 1
            continue
        given = str(image_path.relative_to(folder))
        image = find_image(folder, given, where, key="the image", follow_links=how.follow_links)
        pose = read_matrix_file(pose_path, ((4, 4),), where)
        if not np.isfinite(pose).all():
            lost += 1
            continue
        header = read_header(image, where)
        own, size = fitted_intrinsics(K, _colour_size(stored, header, where), header)
        c2w = how.pose(check_pose(_straightened(pose), where, pose_path.name))
        frames.append(Frame(image, where, c2w, check_intrinsics(own, *size, where), size))
        poses.append(pose_path)
        depths.append((folder / "depth" / f"{image_path.stem}.png", c2w, own, size))
    if not frames:
        raise SceneError(
            f"{folder}: none of the {lost + without} images in color/ has a finite pose of its number in pose/"
        )
    notes = [f"{lost} frames have no finite pose (tracking was lost) and are left out"] if lost else []
    if without:
        notes.append(f"{without} images have no pose and are left out")
    return SceneFile(
        path,
        folder.resolve().name,
        None,
        frames,
        None,
        pixel_centres=how.integer_centres,
        sources=(path, *poses),
        points=points_of_depth(depths, _DEPTH_UNITS),
        notes=notes,
    )


def _colour_size(stored: NDArray[np.float64], header: ImageHeader | None, where: str) -> tuple[int, int]:
    """The height and width that the intrinsics are for: the image's own, or the colour sensor's."""
    centred = stored.copy()
    centred[:2, 2] += 0.5
    found = size_of_centre(centred, header, where)
    is_sensor = all(abs(side / full - 1) < 0.05 for side, full in zip(found, _SENSOR, strict=True))
    return _SENSOR if is_sensor and (header is None or found != header.size) else found


def _intrinsics_of(folder: Path) -> Path | None:
    return next((file for file in (folder / "intrinsic" / _COLOR, folder / _COLOR) if file.exists()), None)


def _straightened(pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """The pose whose rotation, written with six digits, is a rotation again; one that is far from any stays."""
    left, values, right = np.linalg.svd(pose[:3, :3])
    if np.abs(values - 1).max() > 0.01 or np.linalg.det(left @ right) < 0:
        return pose
    straight = pose.copy()
    straight[:3, :3] = left @ right
    return straight
