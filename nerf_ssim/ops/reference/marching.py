"""Specification of ray marching through a box, with an occupancy volume.

Every step is a separate floating-point operation in a stated order, so that another implementation can keep exactly
the same set of samples.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_POSITIONS_PER_CHUNK = 1 << 20
_ZERO_DIRECTION = 1e-6  # stands in for a direction's zero component when the entry into the box is found


def corner_bits(volume: Tensor) -> Tensor:
    """One byte a cell of `volume` `[nx, ny, nz]`: which of its eight corners are occupied, `[nx + 1, ny + 1, nz + 1]`.

    Cell (i, j, k) lies between nodes i - 1 and i (and so on), nodes beyond the volume are empty. Bit
    `4 dx + 2 dy + dz` is the corner at node (i - 1 + dx, j - 1 + dy, k - 1 + dz).
    """
    padded = F.pad(volume.ne(0).to(torch.uint8), (1, 1, 1, 1, 1, 1))
    nx, ny, nz = (size + 1 for size in volume.shape)
    bits = torch.zeros(nx, ny, nz, dtype=torch.uint8, device=volume.device)
    for corner in range(8):
        dx, dy, dz = corner >> 2, corner >> 1 & 1, corner & 1
        bits |= padded[dx : dx + nx, dy : dy + ny, dz : dz + nz] << corner
    return bits


def occupied(bits: Tensor, aabb: Tensor, xyz: Tensor) -> Tensor:
    """Whether the trilinear interpolation of the volume behind `bits` is positive at `xyz` `[n, 3]`, `[n]` bool.

    Interpolation of non-negative values is positive exactly when a corner of non-zero weight is occupied: all eight,
    but for the far corners along an axis on which the point sits on a node.
    """
    nodes = torch.tensor(bits.shape, device=xyz.device) - 1
    scale = (nodes - 1).to(xyz.dtype) / (aabb[1] - aabb[0]).to(xyz.dtype)
    position = (xyz - aabb[0].to(xyz.dtype)) * scale
    outside = ~((position > -1) & (position < nodes)).all(1)  # also true for NaN
    position = torch.where(outside[:, None], -1.0, position)
    node = position.floor()
    on_node = position == node
    cell = node.long() + 1
    allowed = torch.full((len(xyz),), 255, dtype=torch.uint8, device=xyz.device)
    for axis, near_corners in enumerate((0b00001111, 0b00110011, 0b01010101)):
        allowed &= torch.where(on_node[:, axis], near_corners, 255).to(torch.uint8)
    flat = (cell[:, 0] * bits.shape[1] + cell[:, 1]) * bits.shape[2] + cell[:, 2]
    return ((bits.reshape(-1)[flat] & allowed) != 0) & ~outside


def box_entry(origins: Tensor, directions: Tensor, aabb: Tensor, near: float, far: float) -> Tensor:
    """Distance at which each ray enters the box, clamped to [near, far], `[R]`."""
    nonzero = torch.where(directions == 0, _ZERO_DIRECTION, directions)
    return torch.minimum((aabb[1] - origins) / nonzero, (aabb[0] - origins) / nonzero).amax(1).clamp(near, far)


def march_box(
    origins: Tensor,
    directions: Tensor,
    aabb: Tensor,
    near: float,
    far: float,
    step_size: float,
    n_samples: int,
    jitter: Tensor | None = None,
    bits: Tensor | None = None,
    bits_aabb: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Coordinates, distances, deltas, ray indices and ray offsets of the samples kept; see `ops.marching`."""
    n_rays, device = len(origins), origins.device
    steps = torch.arange(n_samples, device=device, dtype=origins.dtype)
    rays_per_chunk = max(1, _POSITIONS_PER_CHUNK // max(1, n_samples))
    scale = 2 / (aabb[1] - aabb[0])
    parts = []
    for first in range(0, n_rays, rays_per_chunk):
        rays = slice(first, first + rays_per_chunk)
        shifted = steps[None] if jitter is None else steps[None] + jitter[rays, None]
        t = box_entry(origins[rays], directions[rays], aabb, near, far)[:, None] + step_size * shifted
        xyz = origins[rays, None] + directions[rays, None] * t[..., None]
        row, k = ((xyz >= aabb[0]) & (xyz <= aabb[1])).all(2).nonzero(as_tuple=True)
        xyz = xyz[row, k]
        if bits is not None and bits_aabb is not None:
            kept = occupied(bits, bits_aabb, xyz)
            row, k, xyz = row[kept], k[kept], xyz[kept]
        parts.append(((xyz - aabb[0]) * scale - 1, t[row, k], k, row + first))
    if not parts:
        parts.append((origins.new_empty(0, 3), origins.new_empty(0), steps.new_empty(0).long(), steps[:0].long()))
    coords, t, k, ray_index = (torch.cat(part) for part in zip(*parts, strict=True))
    delta = torch.where(k == n_samples - 1, 0.0, step_size).to(origins.dtype)
    counts = torch.bincount(ray_index, minlength=n_rays)
    return coords, t, delta, ray_index, F.pad(counts.cumsum(0), (1, 0))
