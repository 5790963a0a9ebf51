"""NSVF's layout: `intrinsics.txt`, `bbox.txt`, `pose/` and `rgb/`, the split in the names' first figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerf_ssim.datasets.cameras import check_intrinsics, check_pose, fitted_intrinsics, read_matrix
from nerf_ssim.datasets.estimate import distances_to_box
from nerf_ssim.datasets.image_headers import ImageHeader, read_header
from nerf_ssim.datasets.paths import find_image, list_images
from nerf_ssim.datasets.scene_file import Bounds, Frame, Reading, SceneFile, check_bounds
from nerf_ssim.datasets.text_files import read_matrix_file, read_rows
from nerf_ssim.errors import SceneError

INTRINSICS, BOX = "intrinsics.txt", "bbox.txt"
FILES = f"{INTRINSICS}, pose/ and rgb/"

_TRAIN, _VALIDATION, _TEST = "0_", "1_", "2_"


def detect(folder: Path) -> bool:
    """Whether `folder` has this layout's files."""
    return all((folder / name).exists() for name in (INTRINSICS, "pose", "rgb"))


def read(folder: Path, how: Reading) -> SceneFile:
    """Read and check the poses and intrinsics; of images only headers are opened.

    Poses are OpenCV camera-to-world, paired with images by name. Intrinsics are a 4x4 (or 3x3) matrix, or NSVF's own
    rows `f cx cy 0.` … with the image's height and width in the last one; images that were resized since get intrinsics
    of their size. A focal length alone is taken for the images as they are. Pixel centres are at halves. Names that
    begin with 0_ train, those with 2_ test, or with 1_ where no 2_ has an image; a pose without an image is left out.
    Images are composited on white.

    Raises:
        SceneError: anything missing or wrong, naming the file and the frame.
    """
    path = folder / INTRINSICS
    K, said, how_said = _intrinsics(path)
    images = {image.stem: image for image in list_images(folder / "rgb")} if (folder / "rgb").is_dir() else {}
    poses = sorted((folder / "pose").glob("*.txt"))
    prefixes = {pose.stem[:2] for pose in poses if pose.stem in images}
    test = _TEST if _TEST in prefixes else _VALIDATION
    frames, is_test, without = [], [], 0
    for pose in poses:
        if pose.stem[:2] not in (_TRAIN, test) and _TRAIN in prefixes:
            continue
        if pose.stem not in images:
            without += 1
            continue
        where = f"{folder}: {pose.stem}"
        given = str(images[pose.stem].relative_to(folder))
        image = find_image(folder, given, where, key="the image", follow_links=how.follow_links)
        c2w = read_matrix(read_matrix_file(pose, ((4, 4), (3, 4)), where).tolist(), [(4, 4), (3, 4)], where, pose.name)
        header = read_header(image, where)
        if K[0, 2] == 0 and header is not None:  # a focal length alone
            own, size = K.copy(), header.size
            own[:2, 2] = header.width / 2, header.height / 2
        else:
            own, size = fitted_intrinsics(K, said or size_of_centre(K, header, where), header)
        frames.append(
            Frame(image, where, how.pose(check_pose(c2w, where, pose.name)), check_intrinsics(own, *size, where), size)
        )
        is_test.append(pose.stem.startswith(test))
    notes = [f"{without} poses have no image and are left out"] if without else []
    unused = sorted({stem[:2] for stem in images} - {_TRAIN, test})
    if unused and _TRAIN in prefixes:
        notes.append(f"images of {', '.join(unused)} are left out: they are neither the training nor the test split")
    if how_said and frames and frames[0].size != said:
        notes.append(f"intrinsics are of another size than the images ({how_said}); they are scaled to them")
    if K[0, 2] == 0:
        notes.append(f"{path.name} is a focal length alone: it is taken for images of the size that they have")
    has_split = _TRAIN in prefixes and test in prefixes
    return SceneFile(
        path,
        folder.resolve().name,
        None,
        frames,
        _bounds(folder / BOX, [frame.c2w for frame in frames]),
        pixel_centres="at halves, the layout's convention",
        is_test=is_test if has_split else None,
        split=f"the images of {test}" if has_split else "",
        sources=tuple(file for file in (path, folder / BOX, *poses) if file.is_file()),
        white_bg=True,
        notes=notes,
    )


def _intrinsics(path: Path) -> tuple[NDArray[np.float64], tuple[int, int] | None, str]:
    """`K`, the height and width that it is for where the file says them, and a remark on that."""
    rows = read_rows(path, f"is {path.parent} a scene in NSVF's layout?")
    lengths = [len(row) for row in rows]
    if lengths in ([4, 4, 4, 4], [3, 3, 3]):
        K = np.array(rows)[:3, :3]
        return K, None, f"the principal point is ({K[0, 2]:g}, {K[1, 2]:g})"
    if lengths and lengths[0] >= 3:
        focal, cx, cy = rows[0][:3]
        K = np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1]])
        if not np.isfinite(K).all():
            raise SceneError(f"{path}: holds NaN or infinity")
        last = rows[-1]
        if len(rows) > 1 and len(last) == 2 and min(last) >= 1 and all(side == int(side) for side in last):
            return K, (int(last[0]), int(last[1])), f"{path.name} says {last[1]:g}x{last[0]:g}"
        return K, None, f"the principal point is ({cx:g}, {cy:g})"
    if lengths == [1]:
        return np.diag([rows[0][0], rows[0][0], 1.0]), None, ""
    raise SceneError(
        f"{path}: neither a 4x4 matrix, nor rows that begin with f cx cy, nor a focal length alone; its lines have "
        f"{lengths[:6]} numbers"
    )


def size_of_centre(K: NDArray[np.float64], header: ImageHeader | None, where: str) -> tuple[int, int]:
    """The size of the image that intrinsics are for, where only their principal point says it.

    It is the image's own, unless the principal point is the middle of a larger or smaller one of the same shape.
    """
    if not np.isfinite(K).all() or K[0, 2] <= 0 or K[1, 2] <= 0:
        raise SceneError(f"{where}: intrinsics have a principal point of ({K[0, 2]:g}, {K[1, 2]:g})")
    middle = round(2 * K[1, 2]), round(2 * K[0, 2])
    if header is None:
        return middle
    ratio = 2 * K[1, 2] / header.height, 2 * K[0, 2] / header.width
    is_own = all(0.75 < share < 1.33 for share in ratio)
    return header.size if is_own else middle


def _bounds(path: Path, poses: Sequence[NDArray[np.float64]]) -> Bounds | None:
    """The box of `bbox.txt` (six numbers, perhaps a voxel's size after them), and distances that reach all of it."""
    if not path.exists() or not poses:
        return None
    numbers = [number for row in read_rows(path) for number in row]
    if len(numbers) not in (6, 7):
        raise SceneError(f"{path}: has {len(numbers)} numbers; a box has six, the lowest corner and the highest")
    box = np.array(numbers[:6]).reshape(2, 3)
    if not np.isfinite(box).all():
        raise SceneError(f"{path}: holds NaN or infinity")
    check_bounds(box, 0.0, 1.0, str(path))
    return Bounds(
        box, *distances_to_box(box, np.stack(poses)), f"{path.name}; near and far reach its nearest and farthest"
    )
