"""LLFF's layout of forward-facing scenes: `poses_bounds.npy` beside `images/`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerf_ssim.datasets.cameras import check_intrinsics, check_pose, fitted_intrinsics
from nerf_ssim.datasets.image_headers import read_header
from nerf_ssim.datasets.paths import find_image, list_images
from nerf_ssim.datasets.scene_file import Bounds, Frame, Reading, SceneFile
from nerf_ssim.errors import SceneError
from nerf_ssim.files import require_regular

POSES = "poses_bounds.npy"
FILES = POSES


def detect(folder: Path) -> bool:
    """Whether `folder` has this layout's poses."""
    return (folder / POSES).exists()


def read(folder: Path, how: Reading) -> SceneFile:
    """Read and check `poses_bounds.npy`; of images only headers are opened.

    A row has a 3x5 matrix, whose first columns are the camera's down, right and back axes and its position and whose
    last one is the image's height and width and the focal length, then the nearest and the farthest depth. Row i is the
    i-th image by name. Images are those of `images/`, else the largest of `images_N/`. Pixel centres are at halves and
    the principal point is the image's middle. Every 8th image is a test view. Rays are in world coordinates; the box
    holds what every camera sees between its two depths.

    Raises:
        SceneError: anything missing or wrong, naming the file and the frame.
    """
    path = folder / POSES
    rows = _read_rows(path)
    images_folder = largest_images(folder)
    if images_folder is None:
        raise SceneError(f"{folder}: has no folder images, or images_4 or the like, beside {POSES}")
    images = list_images(images_folder)
    if len(images) != len(rows):
        raise SceneError(f"{path}: {len(rows)} cameras for {len(images)} images in {images_folder.name}")
    frames, depths = [], rows[:, 15:]
    for index, (row, image_path) in enumerate(zip(rows, images, strict=True)):
        where = f"{path}: frame {index} ({image_path.name})"
        given = str(image_path.relative_to(folder))
        image = find_image(folder, given, where, key="the image", follow_links=how.follow_links)
        matrix = row[:15].reshape(3, 5)
        height, width, focal = matrix[:, 4]
        if not (1 <= height < 1e6 and 1 <= width < 1e6):
            raise SceneError(f"{where}: its height and width are {height:g} and {width:g}")
        # Down, right, back become right, down, forward.
        c2w = np.stack([matrix[:, 1], matrix[:, 0], -matrix[:, 2], matrix[:, 3]], axis=1)
        K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
        own, size = fitted_intrinsics(K, (round(height), round(width)), read_header(image, where))
        frames.append(
            Frame(image, where, how.pose(check_pose(c2w, where, "its pose")), check_intrinsics(own, *size, where), size)
        )
    near, far = float(depths.min()), float(depths.max())
    if not 0 < near < far:
        raise SceneError(f"{path}: depths reach from {near:g} to {far:g}; they must be above 0 and differ")
    return SceneFile(
        path,
        folder.resolve().name,
        None,
        frames,
        Bounds(_seen_box(frames, depths), 0.9 * near, far, "the depths of poses_bounds.npy, seen by every camera"),
        pixel_centres="at halves, the layout's convention",
        hold=8,
        notes=[] if images_folder.name == "images" else [f"images are those of {images_folder.name}"],
    )


def largest_images(folder: Path) -> Path | None:
    """The folder `images`, else that of `images_2`, `images_4` … whose factor is the smallest; None without one."""
    if (folder / "images").is_dir():
        return folder / "images"
    shrunk = [
        (float(child.name.removeprefix("images_")), child)
        for child in folder.glob("images_*")
        if child.is_dir() and child.name.removeprefix("images_").replace(".", "", 1).isdigit()
    ]
    return min(shrunk)[1] if shrunk else None


def _read_rows(path: Path) -> NDArray[np.float64]:
    try:
        require_regular(path)
        rows = np.load(path, mmap_mode="r", allow_pickle=False)  # mapped, no more is allocated than there is
    except FileNotFoundError:
        raise SceneError(f"{path}: missing; is {path.parent} a scene in LLFF's layout?") from None
    except OSError as error:
        raise SceneError(f"{path}: cannot be read ({error.strerror or 'not an array file'})") from None
    except (ValueError, EOFError):
        raise SceneError(f"{path}: not a file of one plain array (pickled objects are never loaded)") from None
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != 17 or rows.dtype.kind not in "iuf":
        shape = getattr(rows, "shape", "an archive")
        raise SceneError(f"{path}: must hold 17 numbers a camera, its shape is {shape}")
    if not np.isfinite(rows).all():
        raise SceneError(f"{path}: holds NaN or infinity")
    return rows.astype(np.float64)


def _seen_box(frames: list[Frame], depths: NDArray[np.float64]) -> NDArray[np.float64]:
    """The box `[2, 3]` around every image's corners at its nearest and farthest depth."""
    points = []
    for frame, (near, far) in zip(frames, depths, strict=True):
        height, width = frame.size or (1, 1)
        corners = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], np.float64)
        rays = corners @ np.linalg.inv(frame.K).T @ frame.c2w[:, :3].T
        points += [frame.c2w[:, 3] + depth * rays for depth in (near, far)]
    everything = np.concatenate(points)
    return np.stack([everything.min(axis=0), everything.max(axis=0)])
