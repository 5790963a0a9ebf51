"""Specification of dense voxel grids, stored channel-last `[X, Y, Z, C]`, sampled at packed points."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def voxel_features(grid: Tensor, coords: Tensor) -> Tensor:
    """Trilinear samples `[S, C]` of `grid` `[X, Y, Z, C]` at `coords` `[S, 3]`, corners aligned, zero outside."""
    volume = grid.permute(3, 0, 1, 2)[None]
    last_axis_first = coords.flip(-1).to(grid.dtype)[None, :, None, None]  # the order that grid_sample wants
    sampled = F.grid_sample(volume, last_axis_first, mode="bilinear", padding_mode="zeros", align_corners=True)
    return sampled[0, :, :, 0, 0].T.contiguous()


def resize_volume(grid: Tensor, size: Sequence[int]) -> Tensor:
    """`grid` `[X, Y, Z, C]` resampled trilinearly to `[*size, C]`, corner on corner."""
    volume = grid.permute(3, 0, 1, 2)[None]
    resized = F.interpolate(volume, size=tuple(size), mode="trilinear", align_corners=True)
    return resized[0].permute(1, 2, 3, 0).contiguous()


def nearest_occupied(mask: Tensor, coords: Tensor) -> Tensor:
    """The entry of `mask` `[X, Y, Z]` at the node nearest to each of `coords` `[n, 3]`, False outside, `[n]` bool."""
    nodes = torch.tensor(mask.shape, device=coords.device)
    half_last = ((nodes - 1) / 2).to(coords.dtype)
    nearest = ((coords + 1) * half_last + 0.5).floor()
    is_inside = ((nearest >= 0) & (nearest < nodes)).all(1)
    node = torch.where(is_inside[:, None], nearest, 0).long()
    return mask[node[:, 0], node[:, 1], node[:, 2]] & is_inside
