"""MonoSDF's raw layout: `cameras.npz` (`world_mat_i`, `scale_mat_i`) beside `*_rgb.png`."""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerf_ssim.datasets.cameras import check_intrinsics, read_matrix
from nerf_ssim.datasets.image_headers import read_header
from nerf_ssim.datasets.images import read_image
from nerf_ssim.datasets.numbered import paired_by_number
from nerf_ssim.datasets.paths import find_image
from nerf_ssim.datasets.scene_file import Bounds, Frame, Reading, SceneFile
from nerf_ssim.errors import SceneError
from nerf_ssim.files import open_regular

CAMERAS = "cameras.npz"
FILES = CAMERAS
# The layout has no bounds: scale_mat maps the scene into this box, and sdfstudio's converter sets these distances.
_AABB = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))
_NEAR, _FAR = 0.05, 2.5
_LARGEST_MATRIX = 1 << 16  # bytes of an entry of the archive
_NO_ARCHIVE = (AttributeError, TypeError, NotImplementedError)  # a bare .npy loads as an array
# Sizes (height, width) that the published archives' cameras are of, where the images beside them are 384x384 centre
# crops of the full height: Replica, DTU, Tanks and Temples. ScanNet's cameras are of the crops already.
_UNCROPPED = ((680, 1200), (1200, 1600), (540, 960))


def detect(folder: Path) -> bool:
    """Whether `folder` has this layout's cameras."""
    return (folder / CAMERAS).exists()


def read(folder: Path, how: Reading) -> SceneFile:
    """Read and check `folder/cameras.npz` against the `*_rgb.png` beside it, paired by the numbers in their names.

    `world_mat_i @ scale_mat_i` is the projection of image i; it splits into intrinsics and pose. The intrinsics count
    pixel centres at integers; half a pixel is added here. Cameras of an uncropped image (as in the published Replica
    archive: 1200x680 beside 384x384 images) are moved to its centre crop.

    Raises:
        SceneError: anything missing or wrong, naming the file and the frame.
    """
    path = folder / CAMERAS
    matrices = _read_matrices(path)
    images = sorted(file.name for file in folder.glob("*_rgb.png"))
    if not images:
        raise SceneError(f"{folder}: no *_rgb.png image beside {CAMERAS}")
    cameras = {int(name.removeprefix("world_mat_")) for name in matrices if name.startswith("world_mat_")}
    if len(cameras) != len(images):
        raise SceneError(f"{path}: {len(cameras)} cameras (world_mat_i) for {len(images)} *_rgb.png images")
    pairs, notes = paired_by_number(images, range(len(images)), str(path))
    frames = []
    size: tuple[int, int] | None = None
    for name, index in pairs:
        where = f"{path}: frame {index} ({name})"
        image = find_image(folder, name, where, key="the image", follow_links=how.follow_links)
        if size is None:
            header = read_header(image, where)
            size = header.size if header else read_image(image).shape[:2]
        world, scale = (_matrix(matrices, f"{kind}_mat_{index}", where) for kind in ("world", "scale"))
        K, c2w = decompose_projection((world @ scale)[:3], where)
        K = _stored_image_intrinsics(K, *size, how.as_published)
        K = check_intrinsics(K, *size, where)
        frames.append(Frame(image, where, how.pose(c2w), K, size))
    return SceneFile(
        path,
        folder.resolve().name,
        None,
        frames,
        Bounds(np.array(_AABB), _NEAR, _FAR, "the layout, whose scenes fill a cube of side 2"),
        pixel_centres=how.integer_centres,
        notes=notes,
    )


def decompose_projection(P: NDArray[np.float64], where: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Intrinsics and pose of a projection matrix known up to scale and sign.

    Args:
        P: `[3, 4]`, world (scene units) to homogeneous pixels.
        where: how an error names it.
    Returns:
        `K` `[3, 3]`, upper triangular, positive diagonal, `K[2, 2] == 1`, and camera-to-world `[3, 4]`.
    Raises:
        SceneError: a singular 3x3 part.
    Source: Hartley and Zisserman, Multiple View Geometry, 6.2.4 (RQ decomposition).
    """
    M = P[:, :3]
    determinant = np.linalg.det(M)
    if abs(determinant) <= 1e-12 * max(np.abs(M).max(), 1e-300) ** 3:
        raise SceneError(f"{where}: world_mat @ scale_mat is no camera (its 3x3 part is singular)")
    if determinant < 0:
        P, M = -P, -M
    # RQ by the QR decomposition of the rows in reverse, transposed.
    q, r = np.linalg.qr(M[::-1].T)
    K, rotation = r.T[::-1, ::-1], q.T[::-1]
    signs = np.sign(np.diag(K))
    K, rotation = K * signs, rotation * signs[:, None]
    centre = -np.linalg.solve(M, P[:, 3])
    return K / K[2, 2], np.concatenate([rotation.T, centre[:, None]], axis=1)


def _stored_image_intrinsics(
    K: NDArray[np.float64], height: int, width: int, as_published: bool
) -> NDArray[np.float64]:
    """`K` with pixel centres at halves, of the stored image where `K` is of the uncropped one."""
    K = K.copy()
    if not as_published:
        K[:2, 2] += 0.5
    middle = K[0, 2] / width, K[1, 2] / height
    if height != width or all(0.25 < share < 0.75 for share in middle):
        return K
    for full_height, full_width in _UNCROPPED:
        if abs(K[0, 2] / full_width - 0.5) < 0.1 and abs(K[1, 2] / full_height - 0.5) < 0.1:
            K[0, 2] -= (full_width - full_height) / 2
            K[:2] *= height / full_height
            return K
    return K


def _read_matrices(path: Path) -> dict[str, NDArray]:
    try:
        with open_regular(path) as file, np.load(file, allow_pickle=False) as archive:
            if any(entry.file_size > _LARGEST_MATRIX for entry in archive.zip.infolist()):
                raise SceneError(f"{path}: holds arrays that are no camera's matrices")
            return {name: archive[name] for name in archive.files if re.fullmatch(r"(world|scale)_mat_\d+", name)}
    except FileNotFoundError:
        raise SceneError(f"{path}: missing; is {path.parent} a scene in MonoSDF's layout?") from None
    except OSError as error:
        raise SceneError(f"{path}: cannot be read ({error.strerror or 'not an npz archive'})") from None
    except (ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error, *_NO_ARCHIVE):
        raise SceneError(f"{path}: not an npz archive of plain arrays (pickled objects are never loaded)") from None


def _matrix(matrices: dict[str, NDArray], name: str, where: str) -> NDArray[np.float64]:
    if name not in matrices:
        raise SceneError(f"{where}: {CAMERAS} has no {name!r}")
    return read_matrix(matrices[name], [(4, 4)], where, name)
