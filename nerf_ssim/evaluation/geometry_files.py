"""Meshes and points in files of other programs: PLY and GLB, with a colour at each vertex."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerf_ssim.errors import MissingDependency
from nerf_ssim.files import atomic_file

__all__ = ["SUFFIXES", "require_trimesh", "write_geometry"]

SUFFIXES = (".ply", ".glb")


def require_trimesh() -> None:
    """Raises `MissingDependency` where the package trimesh is not installed."""
    try:
        import trimesh  # noqa: F401
    except ImportError as error:
        raise MissingDependency("meshes and points need trimesh: pip install 'nerf_ssim[export]'") from error


def write_geometry(
    path: Path,
    vertices: NDArray[np.floating],
    colors: NDArray[np.uint8],
    faces: NDArray[np.int64] | None = None,
) -> None:
    """Writes a mesh, or points where there are no faces; whole or not at all.

    Args:
        path: its suffix, one of `SUFFIXES`, says the form.
        vertices: `[n, 3]`, written as they are: no axis is turned, so that cameras of the scene fit.
        colors: `[n, 3]`, sRGB. PLY has them as they are; glTF's are linear and are converted.
        faces: `[m, 3]`, counter-clockwise where they are seen.
    Raises:
        MissingDependency: the package trimesh is not installed.
        OSError: the file cannot be written.
    """
    require_trimesh()
    import trimesh

    form = path.suffix[1:].lower()
    rgba = np.full((len(colors), 4), 255, np.uint8)
    rgba[:, :3] = _linear(colors) if form == "glb" else colors
    geometry: Any
    if faces is None:
        geometry = trimesh.PointCloud(vertices, colors=rgba)
    else:
        geometry = trimesh.Trimesh(vertices, faces, vertex_colors=rgba, process=False)
    data = trimesh.Scene([geometry]).export(file_type="glb") if form == "glb" else geometry.export(file_type="ply")
    with atomic_file(path) as file:
        file.write(data)


def _linear(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """sRGB levels as levels of linear light (IEC 61966-2-1)."""
    level = np.arange(256) / 255
    light = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    return np.rint(light * 255).astype(np.uint8)[colors]
