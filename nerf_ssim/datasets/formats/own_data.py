"""TensoRF's layout for own data: Blender's files, with the intrinsics of a real camera in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from nerf_ssim.datasets.formats.blender import TRAIN, read_split_files
from nerf_ssim.datasets.json_files import read_object
from nerf_ssim.datasets.scene_file import Bounds, Reading, SceneFile
from nerf_ssim.errors import SceneError

FILES = f"{TRAIN} with w, h, cx and cy"

_AABB = ((-1.5, -1.5, -1.5), (1.5, 1.5, 1.5))
_NEAR, _FAR = 0.1, 100.0


def detect(folder: Path) -> bool:
    """Whether `folder` has Blender's files with the intrinsics of a real camera."""
    if not (folder / TRAIN).is_file():
        return False
    try:
        metadata = read_object(folder / TRAIN, "TensoRF's layout of own data", "frames")
    except SceneError:  # Blender's reader says what is wrong with it
        return False
    return all(key in metadata for key in ("w", "h", "cx", "cy"))


def read(folder: Path, how: Reading) -> SceneFile:
    """As Blender's layout is read. The box is ±1.5, near 0.1 and far 100, as TensoRF has them for such scenes.

    Raises:
        SceneError: anything missing or wrong, naming the file and the frame.
    """
    bounds = Bounds(np.array(_AABB), _NEAR, _FAR, "the layout, as TensoRF has it for own data")
    return replace(read_split_files(folder, how), bounds=bounds)
