"""Replica as Semantic-NeRF renders it: `traj_w_c.txt` beside `rgb/rgb_*.png`, a camera of 90 degrees."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from nerf_ssim.datasets.cameras import check_pose, read_matrix
from nerf_ssim.datasets.depth_points import points_of_depth
from nerf_ssim.datasets.image_headers import ImageHeader, read_header
from nerf_ssim.datasets.images import read_image
from nerf_ssim.datasets.numbered import number_of, sorted_by_number
from nerf_ssim.datasets.paths import find_image, list_images
from nerf_ssim.datasets.scene_file import Frame, Reading, SceneFile
from nerf_ssim.datasets.text_files import read_trajectory
from nerf_ssim.errors import SceneError

TRAJECTORY = "traj_w_c.txt"
FILES = TRAJECTORY

_FIELD_OF_VIEW = math.radians(90.0)  # horizontal, of every published sequence
_DEPTH_UNITS = 1000.0  # a metre


def detect(folder: Path) -> bool:
    """Whether `folder` has this layout's trajectory."""
    return (folder / TRAJECTORY).exists()


def read(folder: Path, how: Reading) -> SceneFile:
    """Read and check the trajectory; of images only headers are opened.

    A line of `traj_w_c.txt` has the 16 numbers of an OpenCV camera-to-world; `rgb/rgb_i.png` is its i-th. The layout
    has no intrinsics: the published sequences see 90 degrees across, with pixel centres at integers and the principal
    point in the image's middle, which is half its size once centres are counted at halves.

    Raises:
        SceneError: anything missing or wrong, naming the file and the frame.
    """
    path = folder / TRAJECTORY
    rows = read_trajectory(path, f"is {folder} a sequence of Semantic-NeRF's Replica?")
    if not (folder / "rgb").is_dir():
        raise SceneError(f"{folder}: has no folder rgb with images rgb_0.png, rgb_1.png, …")
    frames, depths = [], []
    for image_path in sorted_by_number(list_images(folder / "rgb")):
        index = number_of(image_path.name)
        where = f"{path}: frame {index} ({image_path.name})"
        if index is None or index >= len(rows):
            raise SceneError(f"{where}: the trajectory has {len(rows)} poses, none for this image")
        if len(rows[index]) != 16:
            raise SceneError(f"{where}: pose {index + 1} has {len(rows[index])} numbers, not the 16 of a 4x4 matrix")
        given = str(image_path.relative_to(folder))
        image = find_image(folder, given, where, key="the image", follow_links=how.follow_links)
        pose = read_matrix(np.array(rows[index]).reshape(4, 4).tolist(), [(4, 4)], where, "its pose")
        height, width = (read_header(image, where) or ImageHeader(*read_image(image).shape[:2])).size
        focal = width / 2 / math.tan(_FIELD_OF_VIEW / 2)
        shift = 0.5 if how.as_published else 0.0
        K = np.array([[focal, 0, width / 2 - shift], [0, focal, height / 2 - shift], [0, 0, 1]])
        c2w = how.pose(check_pose(pose, where, "its pose"))
        frames.append(Frame(image, where, c2w, K, (height, width)))
        depth = folder / "depth" / (image_path.stem.replace("rgb", "depth") + ".png")
        depths.append((depth, c2w, K, (height, width)))
    notes = ["the layout has no intrinsics; its cameras see 90 degrees across, as the published sequences do"]
    if len(frames) < len(rows):
        notes.append(f"{len(rows) - len(frames)} of the trajectory's {len(rows)} poses have no image and are left out")
    return SceneFile(
        path,
        folder.resolve().name,
        None,
        frames,
        None,
        pixel_centres=how.integer_centres,
        points=points_of_depth(depths, _DEPTH_UNITS),
        notes=notes,
    )
