"""Replica as NICE-SLAM renders it: `traj.txt`, `results/frame*.jpg`, and `cam_params.json` beside the scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nerf_ssim.datasets.cameras import check_intrinsics, check_pose, fitted_intrinsics, read_matrix
from nerf_ssim.datasets.depth_points import points_of_depth
from nerf_ssim.datasets.image_headers import read_header
from nerf_ssim.datasets.json_files import given_number, member, pixels, read_object
from nerf_ssim.datasets.numbered import number_of, sorted_by_number
from nerf_ssim.datasets.paths import find_image, list_images
from nerf_ssim.datasets.scene_file import Frame, Reading, SceneFile
from nerf_ssim.datasets.text_files import read_trajectory
from nerf_ssim.errors import SceneError

TRAJECTORY, CAMERA = "traj.txt", "cam_params.json"
FILES = f"{TRAJECTORY} and results/"


def detect(folder: Path) -> bool:
    """Whether `folder` has this layout's trajectory and images."""
    return (folder / TRAJECTORY).exists() and (folder / "results").is_dir()


def read(folder: Path, how: Reading) -> SceneFile:
    """Read and check the trajectory and the camera; of images only headers are opened.

    `cam_params.json` (`camera {w h fx fy cx cy scale}`) lies in the scene's folder or in the one above it. A line of
    `traj.txt` has the 16 numbers of an OpenCV camera-to-world, or four lines have them; frame i is its i-th pose. The
    camera counts pixel centres at integers; half a pixel is added here. The box is estimated from the depth maps.

    Raises:
        SceneError: anything missing or wrong, naming the file and the frame.
    """
    path = folder / TRAJECTORY
    rows = read_trajectory(path, f"is {folder} a scene of NICE-SLAM's Replica?")
    camera_path = next((file for file in (folder / CAMERA, folder.resolve().parent / CAMERA) if file.exists()), None)
    if camera_path is None:
        raise SceneError(f"{folder}: {CAMERA} is neither in the scene's folder nor in the one above it")
    camera = member(read_object(camera_path, "NICE-SLAM's Replica", "camera"), "camera", dict, str(camera_path))
    where = f"{camera_path}: camera"
    said = pixels(camera, "h", where), pixels(camera, "w", where)
    values = {key: given_number((camera,), key, where) for key in ("fx", "fy", "cx", "cy", "scale")}
    if missing := [key for key in ("fx", "fy", "cx", "cy") if values[key] is None]:
        raise SceneError(f"{where}: has no {missing[0]!r}")
    shift = 0.0 if how.as_published else 0.5
    K = np.array([[values["fx"], 0, values["cx"]], [0, values["fy"], values["cy"]], [0, 0, 1]], np.float64)
    K[:2, 2] += shift
    frames, depths = [], []
    images = [file for file in list_images(folder / "results") if not file.name.startswith("depth")]
    for image_path in sorted_by_number(images):
        index = number_of(image_path.name)
        where = f"{path}: frame {index} ({image_path.name})"
        if index is None:
            raise SceneError(f"{where}: its name has no number, so its line is not known")
        if index >= len(rows):
            raise SceneError(f"{where}: the trajectory has {len(rows)} poses, none for this frame")
        if len(rows[index]) != 16:
            raise SceneError(f"{where}: pose {index + 1} has {len(rows[index])} numbers, not the 16 of a 4x4 matrix")
        given = str(image_path.relative_to(folder))
        image = find_image(folder, given, where, key="the image", follow_links=how.follow_links)
        pose = read_matrix(np.array(rows[index]).reshape(4, 4).tolist(), [(4, 4)], where, "its pose")
        own, size = fitted_intrinsics(K, said, read_header(image, where))
        c2w = how.pose(check_pose(pose, where, "its pose"))
        frames.append(Frame(image, where, c2w, check_intrinsics(own, *size, where), size))
        depths.append((image.with_name(image_path.stem.replace("frame", "depth") + ".png"), c2w, own, size))
    notes = []
    if len(frames) < len(rows):
        notes.append(f"{len(rows) - len(frames)} of the trajectory's {len(rows)} poses have no image and are left out")
    return SceneFile(
        path,
        folder.resolve().name,
        None,
        frames,
        None,
        pixel_centres=how.integer_centres,
        sources=(path, camera_path),
        points=points_of_depth(depths, values["scale"] or 6553.5),
        notes=notes,
    )
