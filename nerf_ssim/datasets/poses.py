"""What a stored matrix says of a camera: axes of OpenCV or OpenGL, camera to world or the other way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nerf_ssim.datasets.conventions import LAYOUT

__all__ = ["opencv_from_opengl", "reread_poses"]

_OPENGL = np.array([1.0, -1.0, -1.0, 1.0])  # a camera's axes and position: y and z point the other way


def reread_poses(c2w: NDArray[np.float64], axes: str, convention: str) -> NDArray[np.float64]:
    """Camera-to-world poses, where the stored matrices are something else than their layout says.

    Args:
        c2w: `[..., 3, 4]`, OpenCV camera-to-world as the layout's convention gives it.
        axes: `opencv` or `opengl`, the axes of the layout's stored matrices.
        convention: one of `POSE_CONVENTIONS`: the axes that they really have, and behind them what they are: camera to
            world, `w2c` world to camera, `transposed` a rotation that is transposed, or `w2c_position` a position that
            is that of world to camera.
    Returns:
        `[..., 3, 4]`, OpenCV camera-to-world.
    """
    if convention == LAYOUT:
        return c2w
    stored = c2w * _OPENGL if axes == "opengl" else c2w
    real_axes, _, kind = convention.partition("_")
    rotation, position = stored[..., :3], stored[..., 3:]
    turned = np.swapaxes(rotation, -1, -2)
    if kind == "w2c":
        rotation, position = turned, -turned @ position
    elif kind == "transposed":
        rotation = turned
    elif kind == "w2c_position":
        position = -rotation @ position
    real = np.concatenate([rotation, position], axis=-1)
    return opencv_from_opengl(real) if real_axes == "opengl" else real


def opencv_from_opengl(c2w: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses `[..., 3, 4]` of cameras that look along -z with y up as those of cameras that look along z with y down."""
    return c2w * _OPENGL
