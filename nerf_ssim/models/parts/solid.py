"""A field as geometry: how much light its matter stops at a place, what colour it has, and where its surface is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nerf_ssim.evaluation.isosurface import isosurface, vertex_normals, vertices_in_use

__all__ = ["Solid", "Surface", "colors_of", "middle_of", "opacity_at", "stretch_of", "surface_of"]

STRETCHES = 128  # of a grid's longest side: the length over which an opacity is meant
COLORS_AT_ONCE = 1 << 16


@runtime_checkable
class Solid(Protocol):
    """What geometry needs to know of a field whose grid fills a box; coordinates are in [-1, 1] of that box."""

    @property
    def sides(self) -> Tensor:
        """The box's sides `[3]`, in the units in which the grid's cells are cubes."""

    def extinction(self, coords: Tensor) -> Tensor:
        """Optical thickness of a unit of `sides` at `coords [n, 3]`, `[n]`, >= 0: light falls to exp(-extinction) over
        it. 0 where the mask is closed, as in a render."""

    def color(self, coords: Tensor, directions: Tensor) -> Tensor:
        """Colour `[n, 3]` in [0, 1] at `coords [n, 3]`, looked at along unit `directions [n, 3]`."""

    def to_world(self, coords: Tensor) -> Tensor:
        """`coords [n, 3]` in scene units; infinite where they lie beyond all that a ray reaches."""

    def from_world(self, points: Tensor) -> Tensor:
        """World `points [n, 3]` as coordinates."""


@dataclass(frozen=True)
class Surface:
    """A triangle mesh: `vertices [n, 3]` in scene units, their place `coords [n, 3]` in the field, `faces [m, 3]`.

    Faces turn counter-clockwise where they are seen from outside the matter.
    """

    vertices: NDArray[np.float64]
    coords: Tensor
    faces: NDArray[np.int64]

    def of_vertices(self, is_kept: NDArray[np.bool_]) -> Surface:
        """The faces all of whose vertices are kept."""
        kept, faces = vertices_in_use(self.faces[is_kept[self.faces].all(1)])
        return Surface(self.vertices[kept], self.coords[torch.from_numpy(kept).to(self.coords.device)], faces)


def opacity_at(solid: Solid, coords: Tensor) -> Tensor:
    """Share of the light `[n]` that a stretch of 1/128 of the grid's longest side stops, of matter as at `coords`."""
    return -torch.expm1(-solid.extinction(coords) * stretch_of(solid))


def middle_of(solid: Solid) -> Tensor:
    """The middle of the field's box, world coordinates `[3]`."""
    return solid.to_world(torch.zeros(1, 3, device=solid.sides.device))[0]


def stretch_of(solid: Solid) -> float:
    """The length over which `opacity_at` is meant, in units of `sides`."""
    return float(solid.sides.max()) / STRETCHES


def is_mirrored(solid: Solid) -> bool:
    """Whether the field's coordinates are left-handed where the world's are right-handed, as NDC are."""
    steps = torch.cat([torch.zeros(1, 3), 1e-2 * torch.eye(3)]).to(solid.sides.device)
    places = solid.to_world(steps).double()
    return bool(torch.linalg.det(places[1:] - places[0]) < 0)


@torch.no_grad()
def colors_of(solid: Solid, surface: Surface) -> NDArray[np.uint8]:
    """The colour of each vertex, looked at along its normal: uint8 `[n, 3]`."""
    inwards = torch.from_numpy(-vertex_normals(surface.vertices, surface.faces)).to(surface.coords)
    parts = zip(surface.coords.split(COLORS_AT_ONCE), inwards.split(COLORS_AT_ONCE), strict=True)
    rgb = torch.cat([solid.color(coords, along).clamp(0, 1).cpu() for coords, along in parts])
    return rgb.mul(255).round().byte().numpy()


@torch.no_grad()
def surface_of(solid: Solid, *, resolution: int, threshold: float, reach: float | None = None) -> Surface:
    """The surface where `opacity_at` passes `threshold`.

    Only a slab of the grid is in memory at once, so that the mesh itself is what takes most.

    Args:
        resolution: nodes along the longest side of the field's box; the others in proportion.
        threshold: an opacity between 0 and 1.
        reach: triangles farther than this from the box's centre are left out, scene units; None for all.
    """
    device = solid.sides.device
    cell = solid.sides.max() / (resolution - 1)
    shape = [max(2, round(float(side / cell)) + 1) for side in solid.sides]
    last = torch.tensor(shape, device=device) - 1

    def coords_of(nodes: Tensor) -> Tensor:
        return nodes.to(device) * (2 / last) - 1

    nodes, faces = isosurface(lambda nodes: opacity_at(solid, coords_of(nodes)), shape, threshold)
    coords = coords_of(torch.from_numpy(nodes))
    vertices = solid.to_world(coords).double().cpu().numpy()
    if is_mirrored(solid):
        faces = faces[:, ::-1]
    distance = np.linalg.norm(vertices - middle_of(solid).double().cpu().numpy(), axis=1)
    is_near = np.isfinite(distance) & (distance <= (np.inf if reach is None else reach))
    return Surface(vertices, coords, faces).of_vertices(is_near)
