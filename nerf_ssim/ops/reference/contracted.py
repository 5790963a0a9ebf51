"""Specification of ray marching through contracted space.

Every step is a separate floating-point operation in a stated order, so that another implementation can keep exactly
the same set of samples.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nerf_ssim.ops.reference.voxels import nearest_occupied

_POSITIONS_PER_CHUNK = 1 << 20


def contract(points: Tensor, bg_len: float) -> tuple[Tensor, Tensor]:
    """`points` `[..., 3]` drawn into the ball of radius 1 + `bg_len`, and whether each was inside |p| <= 1.

    Outside the unit ball p becomes p / |p| * ((1 + bg_len) - bg_len / |p|).
    """
    norm = length(points)[..., None]
    is_inner = norm <= 1
    shell = points / norm * ((1 + bg_len) - norm.new_tensor(bg_len) / norm)
    return torch.where(is_inner, points, shell), is_inner[..., 0]


def length(vectors: Tensor) -> Tensor:
    """Euclidean length of `[..., 3]`: squares added in the order x, y, z, and a correctly rounded root."""
    squares = vectors * vectors
    total = squares[..., 0] + squares[..., 1] + squares[..., 2]
    return total.double().sqrt().to(vectors.dtype)


def thin(contracted: Tensor, is_inner: Tensor, min_distance: float) -> Tensor:
    """Which of the places `[R, P, 3]` to keep, `[R, P]` bool: inner ones, and outer ones far enough from the last.

    The distance between places accumulates along the ray, over inner places too; a place at which it exceeds
    `min_distance` is kept and sets it back to zero.
    """
    distance = length(contracted[:, 1:] - contracted[:, :-1])
    accumulated = contracted.new_zeros(len(contracted))
    kept = is_inner.clone()
    for place in range(distance.shape[1]):
        accumulated = accumulated + distance[:, place]
        is_over = accumulated > min_distance
        accumulated = torch.where(is_over, 0, accumulated)
        kept[:, place + 1] |= is_over
    return kept


def march_contracted(
    origins: Tensor,
    directions: Tensor,
    t: Tensor,
    bg_len: float,
    min_distance: float,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Coordinates, distances, ray indices and ray offsets of the samples kept; see `ops.contracted`."""
    n_rays = len(origins)
    none = torch.empty(0, dtype=torch.int64, device=origins.device)
    rays_per_chunk = max(1, _POSITIONS_PER_CHUNK // max(1, len(t)))
    parts = [(origins.new_empty(0, 3), none, none)]
    for first in range(0, n_rays, rays_per_chunk):
        rays = slice(first, first + rays_per_chunk)
        points = origins[rays, None] + directions[rays, None] * t[:, None]
        contracted, is_inner = contract(points, bg_len)
        row, place = thin(contracted, is_inner, min_distance).nonzero(as_tuple=True)
        coords = contracted[row, place] / (1 + bg_len)
        if mask is not None:
            kept = nearest_occupied(mask, coords)
            row, place, coords = row[kept], place[kept], coords[kept]
        parts.append((coords, row + first, place))
    coords, ray_index, place = (torch.cat(part) for part in zip(*parts, strict=True))
    counts = torch.bincount(ray_index, minlength=n_rays)
    return coords, t[place], ray_index, F.pad(counts.cumsum(0), (1, 0))
