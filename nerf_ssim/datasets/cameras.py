"""Is this a camera? Poses must be rigid and intrinsics a pinhole's; anything else is refused with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nerf_ssim.errors import SceneError

if TYPE_CHECKING:
    from nerf_ssim.datasets.image_headers import ImageHeader

_RIGID_TOLERANCE = 1e-3


def read_matrix(value: Any, shapes: Sequence[tuple[int, int]], where: str, name: str) -> NDArray[np.float64]:
    """`value` (nested lists of numbers) as a finite matrix of one of `shapes`.

    Raises:
        SceneError: another shape, something that is no number, NaN or infinity.
    """
    wanted = " or ".join(f"{rows}x{columns}" for rows, columns in shapes)
    try:
        matrix = np.array(value)
    except ValueError:
        raise SceneError(f"{where}: {name} is ragged; it must be a {wanted} matrix") from None
    if matrix.dtype.kind not in "iuf":
        raise SceneError(f"{where}: {name} must be a {wanted} matrix of numbers, got {_brief(value)}")
    if matrix.shape not in shapes:
        raise SceneError(f"{where}: {name} must be a {wanted} matrix, its shape is {matrix.shape}")
    matrix = matrix.astype(np.float64)
    if not np.isfinite(matrix).all():
        raise SceneError(f"{where}: {name} holds NaN or infinity")
    return matrix


def check_pose(pose: NDArray[np.float64], where: str, name: str = "camtoworld") -> NDArray[np.float64]:
    """The `[3, 4]` camera-to-world of `pose` (`[3, 4]` or `[4, 4]`), if it is a rotation and a position.

    Raises:
        SceneError: scaled, mirrored, sheared, or a last row other than 0 0 0 1.
    """
    if pose.shape == (4, 4) and not np.allclose(pose[3], (0, 0, 0, 1), atol=1e-6):
        raise SceneError(f"{where}: the last row of {name} is {_row(pose[3])}, it must be 0 0 0 1 (transposed?)")
    rotation = pose[:3, :3]
    determinant = float(np.linalg.det(rotation))
    if np.abs(rotation @ rotation.T - np.eye(3)).max() <= _RIGID_TOLERANCE and determinant > 0:
        return pose[:3]
    problem = f"{where}: {name} is not a rotation (det = {determinant:.3f})"
    gram = rotation @ rotation.T
    scale = float(np.sqrt(np.trace(gram) / 3))
    is_scaled = scale > 0 and np.abs(gram / scale**2 - np.eye(3)).max() <= _RIGID_TOLERANCE
    if determinant < 0 and is_scaled:
        raise SceneError(f"{problem}: mirrored; flip two axes, not one (OpenGL to OpenCV flips both y and z)")
    if is_scaled:
        raise SceneError(f"{problem}: scaled by {scale:.4g}; divide its 3x3 part by that and keep the position")
    raise SceneError(f"{problem}: its axes are not perpendicular and of length one; export the pose again")


def check_intrinsics(K: NDArray[np.float64], height: int, width: int, where: str) -> NDArray[np.float64]:
    """The `[3, 3]` part of `K` (`[3, 3]` or `[4, 4]`), if it is a pinhole camera's of a `height` x `width` image.

    `K` is in the convention of pixel centres at halves.

    Raises:
        SceneError: a focal length <= 0, not upper triangular, a principal point outside the image.
    """
    K = K[:3, :3]
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    if not np.allclose(K[2], (0, 0, 1), atol=1e-6) or abs(K[1, 0]) > 1e-6 * abs(fy):
        rows = "; ".join(map(_row, K))
        raise SceneError(f"{where}: intrinsics must be [fx skew cx; 0 fy cy; 0 0 1], they are [{rows}] (transposed?)")
    if fx <= 0 or fy <= 0:
        raise SceneError(f"{where}: intrinsics have a focal length that is not positive (fx {fx:.6g}, fy {fy:.6g})")
    if not (0 <= cx <= width and 0 <= cy <= height):
        raise SceneError(
            f"{where}: principal point ({cx:.6g}, {cy:.6g}) is outside the {width}x{height} image; "
            "the intrinsics are of images of another size or crop"
        )
    return K


def resized_intrinsics(K: NDArray[np.float64], old: tuple[int, int], new: tuple[int, int]) -> NDArray[np.float64]:
    """Intrinsics `[..., 3, 3]` after resizing images from `old` to `new` (height, width), in pixels.

    With pixel centres at halves the image's corner is (0, 0) at every size, so resizing is exactly a scaling of rows.
    """
    scale = np.array([new[1] / old[1], new[0] / old[0], 1.0])
    return K * scale[:, None]


def fitted_intrinsics(
    K: NDArray[np.float64], said: tuple[int, int], header: ImageHeader | None
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Intrinsics for an image file, where the scene's are of images of the size `said`.

    A file of another size but the same shape was resized, and the intrinsics are scaled with it. One of another shape
    gets them as they are, and is refused when it is loaded.

    Args:
        K: `[3, 3]`, pixel centres at halves.
        said: height and width, pixels.
        header: the image's; None where its kind of file does not say a size before it is decoded.
    Returns:
        `K [3, 3]`, and the height and width that it is for.
    """
    if header is None or said in (header.size, header.turned_size):
        return K, said
    for size in (header.size, header.turned_size):
        ratios = size[0] / said[0], size[1] / said[1]
        # Sizes are whole pixels, so that a resized image's shape is right to a pixel only.
        if abs(ratios[0] / ratios[1] - 1) <= 0.01 or abs(size[0] - said[0] * ratios[1]) <= 1:
            return resized_intrinsics(K, said, size), size
    return K, said


def principal_point_centres(frames: Sequence[tuple[NDArray[np.float64], tuple[int, int]]]) -> str | None:
    """Where pixel centres are, by principal points in the exact middle of the image: `halves`, `integers`, or None.

    Args:
        frames: intrinsics as stored, `[3, 3]` or larger, with the image's height and width.
    """
    for name, offset in (("halves", 0.0), ("integers", 0.5)):
        if frames and all(
            abs(K[0, 2] - width / 2 + offset) < 1e-3 and abs(K[1, 2] - height / 2 + offset) < 1e-3
            for K, (height, width) in frames
        ):
            return name
    return None


def _row(row: NDArray[np.float64]) -> str:
    return " ".join(f"{value:.4g}" for value in row)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
