"""A dense voxel grid of features, sampled trilinearly."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nerf_ssim.ops.total_variation import as_plane, planes_tv
from nerf_ssim.ops.voxels import GradientPool, resize_volume, voxel_features

__all__ = ["VoxelGrid", "node_coords"]


class VoxelGrid(nn.Module):
    """`values [X, Y, Z, channels]` on the nodes of a box, corners aligned with the box's.

    It answers what the factorised grids answer, but for orthogonality: a dense grid has no components.
    `pool` keeps the memory of the gradient from one step to the next, for an optimiser that clears and returns it.
    """

    tv_scale = 1e-2

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values)
        self.pool = GradientPool()

    @classmethod
    def zeros(cls, resolution: Sequence[int], channels: int, device: torch.device | str) -> VoxelGrid:
        """A grid of zeros with `resolution` nodes along x, y and z."""
        return cls(torch.zeros(*resolution, channels, device=device))

    @property
    def n_features(self) -> int:
        """Channels of `features`."""
        return self.values.shape[3]

    def density(self, coords: Tensor) -> Tensor:
        """Sum over channels at `coords [samples, 3]` in [-1, 1] of the box: `[samples]`."""
        features = self.features(coords)
        return features.reshape(-1) if self.n_features == 1 else features.sum(1)

    def features(self, coords: Tensor) -> Tensor:
        """Features `[samples, channels]` at `coords [samples, 3]` in [-1, 1] of the box; zero outside."""
        return voxel_features(self.values, coords, pool=self.pool)

    def features_in(self, basis: Tensor, coords: Tensor) -> Tensor:
        """`features` in a `basis [outputs, channels]`: `[samples, outputs]`."""
        return nn.functional.linear(self.features(coords), basis)

    @torch.no_grad()
    def resize(self, resolution: Sequence[int]) -> None:
        """Trilinear resampling to `resolution`; the parameter is replaced, so the optimiser must be rebuilt."""
        self.pool = GradientPool()
        self.values = nn.Parameter(resize_volume(self.values, resolution))

    def crop_slices(self, start: Sequence[int], stop: Sequence[int]) -> dict[nn.Parameter, tuple[slice, ...]]:
        """For each parameter, the part that a crop to cells `start … stop` (x, y, z; stop excluded) keeps."""
        return {self.values: tuple(map(slice, start, stop))}

    def total_variation(self, weight: float = 1.0) -> Tensor:
        """`weight` times twice the mean squared difference of neighbours, summed over the axes, weighed as for
        planes."""
        x, y, z, channels = self.values.shape
        across = self.values.view(x, y, z * channels)
        along_z = as_plane(self.values.movedim(2, 0).reshape(z, -1))
        return planes_tv((across, along_z), self.tv_scale, weight)

    def l1(self) -> Tensor:
        """The mean absolute value."""
        return self.values.abs().mean()


def node_coords(resolution: Sequence[int], device: torch.device | str) -> Tensor:
    """Where a grid's nodes are in [-1, 1] of its box: `[X, Y, Z, 3]`."""
    axes = [torch.linspace(-1, 1, n, device=device) for n in resolution]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
