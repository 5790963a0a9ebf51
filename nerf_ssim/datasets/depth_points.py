"""Points on a scene's surfaces from the depth maps that some layouts have beside their images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nerf_ssim.datasets.cameras import resized_intrinsics
from nerf_ssim.files import read_bytes

__all__ = ["points_of_depth"]

_MAPS = 40  # that are read, evenly spaced
_POINTS = 1500  # of each map


def points_of_depth(
    maps: Sequence[tuple[Path, NDArray[np.float64], NDArray[np.float64], tuple[int, int]]], units: float
) -> NDArray[np.float64] | None:
    """World points `[n, 3]` of depth maps; None where none can be read.

    They only serve to estimate bounds, so that a map that is missing or damaged is passed over.

    Args:
        maps: for each its 16-bit image, its camera's `c2w [3, 4]` and `K [3, 3]` (pixel centres at halves) and the
            height and width that `K` is for. Depth is along the optical axis; 0 is unknown.
        units: a map's value of one scene unit.
    """
    chosen = maps[:: max(1, -(-len(maps) // _MAPS))]
    found = []
    for path, c2w, K, size in chosen:
        try:
            encoded = np.frombuffer(read_bytes(path), np.uint8)
            depth = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED) if encoded.size else None
        except (OSError, cv2.error):
            continue
        if depth is None or depth.ndim != 2:
            continue
        step = max(1, int(np.sqrt(depth.size / _POINTS)))
        rows, columns = (grid.ravel() for grid in np.mgrid[0 : depth.shape[0] : step, 0 : depth.shape[1] : step])
        z = depth[rows, columns].astype(np.float64) / units
        own = resized_intrinsics(K, size, (depth.shape[0], depth.shape[1]))
        pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], axis=1)[z > 0]
        in_camera = pixels @ np.linalg.inv(own).T * z[z > 0, None]
        found.append(in_camera @ c2w[:, :3].T + c2w[:, 3])
    return np.concatenate(found) if found else None
