"""Where a function on a grid passes a value: triangles, by marching cubes, a slab of the grid at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from nerf_ssim.errors import MissingDependency

__all__ = ["isosurface", "vertex_normals", "vertices_in_use"]

NODES_IN_A_SLAB = 1 << 22
NODES_AT_ONCE = 1 << 18

Mesh = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Vertices `[n, 3]` and triangles `[m, 3]` of them."""


def isosurface(value_at: Callable[[Tensor], Tensor], shape: Sequence[int], level: float) -> Mesh:
    """Vertices `[n, 3]` in nodes (node (0, 0, 0) is the origin) and triangles `[m, 3]` where `value_at` is `level`.

    Triangles turn counter-clockwise where they are seen from the lower values. The surface is open where it meets the
    edge of the grid. Neighbouring slabs share their vertices.

    Args:
        value_at: nodes `[n, 3]` float32 -> values `[n]`.
        shape: nodes along x, y, z, at least 2 each.
        level: what separates the two sides.
    Raises:
        MissingDependency: the package scikit-image is not installed.
    Source: Lewiner et al. 2003, "Efficient implementation of marching cubes' cases with topological guarantees".
    """
    try:
        from skimage.measure import marching_cubes
    except ImportError as error:
        raise MissingDependency("a mesh needs scikit-image: pip install 'nerf_ssim[export]'") from error

    vertices, faces, seams, count = [np.zeros((0, 3), np.float32)], [np.zeros((0, 3), np.int64)], [], 0
    for first, values in _slabs(value_at, shape):
        seams.append(first)
        if not values.min() < level < values.max():
            continue
        places, triangles, _, _ = marching_cubes(values, level, gradient_direction="ascent")
        vertices.append(places.astype(np.float32) + np.array((first, 0, 0), np.float32))
        faces.append(triangles.astype(np.int64) + count)
        count += len(places)
    return _welded(np.concatenate(vertices), np.concatenate(faces), np.array(seams, np.float32))


def vertex_normals(vertices: NDArray[np.floating], faces: NDArray[np.int64]) -> NDArray[np.float64]:
    """Unit normals `[n, 3]`, the mean of the faces around each vertex by area; zero where there is none."""
    a, b, c = (vertices[faces[:, corner]].astype(np.float64) for corner in range(3))
    across = np.cross(b - a, c - a)  # twice the area long
    normals = np.stack(
        [np.bincount(faces.ravel(), np.repeat(across[:, axis], 3), minlength=len(vertices)) for axis in range(3)],
        axis=1,
    )
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)


def _slabs(value_at: Callable[[Tensor], Tensor], shape: Sequence[int]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The grid's values in slabs across x, each with the index of its first plane, which is the last one's last."""
    thickness = max(1, NODES_IN_A_SLAB // (shape[1] * shape[2]))
    last = _planes(value_at, range(1), shape)
    for first in tqdm(range(0, shape[0] - 1, thickness), desc="surface", unit="slab", disable=None):
        planes = range(first + 1, min(first + 1 + thickness, shape[0]))
        values = np.concatenate([last, _planes(value_at, planes, shape)])
        last = values[-1:]
        yield first, values


def _planes(value_at: Callable[[Tensor], Tensor], planes: range, shape: Sequence[int]) -> NDArray[np.float32]:
    """Values `[planes, Y, Z]` at the nodes of some planes across x."""
    across = shape[1] * shape[2]
    parts = []
    for index in torch.arange(planes.start * across, planes.stop * across).split(NODES_AT_ONCE):
        nodes = torch.stack([index // across, index // shape[2] % shape[1], index % shape[2]], dim=1)
        parts.append(value_at(nodes.float()).float().cpu())
    return torch.cat(parts).view(len(planes), shape[1], shape[2]).numpy()


def _welded(vertices: NDArray[np.float32], faces: NDArray[np.int64], seams: NDArray[np.float32]) -> Mesh:
    """The mesh with the vertices that two slabs made of the same edges made one, without triangles of no area."""
    on_seam = np.flatnonzero(np.isin(vertices[:, 0], seams))
    _, first, same = np.unique(vertices[on_seam], axis=0, return_index=True, return_inverse=True)
    index = np.arange(len(vertices))
    index[on_seam] = on_seam[first[same.ravel()]]
    faces = index[faces]
    is_proper = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    kept, faces = vertices_in_use(faces[is_proper])
    return vertices[kept], faces


def vertices_in_use(faces: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The vertices that `faces [m, 3]` have, `[n]`, and the same faces as indices into these."""
    kept, places = np.unique(faces, return_inverse=True)
    return kept, places.reshape(-1, 3)
