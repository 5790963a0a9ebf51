"""A dense voxel grid of features, sampled trilinearly."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nerf_ssim.ops.voxels import GradientPool, resize_volume, voxel_features

__all__ = ["VoxelGrid", "node_coords"]


class VoxelGrid(nn.Module):
    """`values [X, Y, Z, channels]` on the nodes of a box, corners aligned with the box's.

    `pool` keeps the memory of the gradient from one step to the next, for an optimiser that clears and returns it.
    """

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values)
        self.pool = GradientPool()

    @classmethod
    def zeros(cls, resolution: Sequence[int], channels: int, device: torch.device | str) -> VoxelGrid:
        """A grid of zeros with `resolution` nodes along x, y and z."""
        return cls(torch.zeros(*resolution, channels, device=device))

    def forward(self, coords: Tensor) -> Tensor:
        """Features `[samples, channels]` at `coords [samples, 3]` in [-1, 1] of the box; zero outside."""
        return voxel_features(self.values, coords, pool=self.pool)

    @torch.no_grad()
    def resize(self, resolution: Sequence[int]) -> None:
        """Trilinear resampling to `resolution`; the parameter is replaced, so the optimiser must be rebuilt."""
        self.pool = GradientPool()
        self.values = nn.Parameter(resize_volume(self.values, resolution))


def node_coords(resolution: Sequence[int], device: torch.device | str) -> Tensor:
    """Where a grid's nodes are in [-1, 1] of its box: `[X, Y, Z, 3]`."""
    axes = [torch.linspace(-1, 1, n, device=device) for n in resolution]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
