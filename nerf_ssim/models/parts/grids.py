"""Feature grids by name: VM, planes times lines, and CP, products of three lines (TensoRF, Chen et al. 2022), or dense.

All are stored channel-last, so that the channels of one texel are neighbours in memory, and answer the same six
questions: `density` (sum over channels), `features` (the channels), `features_in` (a basis), `resize`, `crop_slices`
and the regularisers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from nerf_ssim.models.parts.voxel_grid import VoxelGrid
from nerf_ssim.ops import grids as grid_ops
from nerf_ssim.ops.resize import resize_line, resize_plane
from nerf_ssim.ops.total_variation import as_plane, planes_tv

__all__ = ["PLANE_AXES", "LINE_AXES", "CPGrid", "Grid", "VMGrid", "make_grid"]

PLANE_AXES = ((0, 1), (0, 2), (1, 2))  # (u, v) of each plane: xy, xz, yz
LINE_AXES = (2, 1, 0)  # the axis each plane leaves out


class VMGrid(nn.Module):
    """Three planes, each with the line along its missing axis.

    `planes[m]` is `[n_v, n_u, components[m]]`, `lines[m]` is `[n_w, components[m]]` with the axes of `PLANE_AXES`.
    """

    tv_scale = 1e-2
    initial_scale = 0.1

    def __init__(self, planes: Sequence[Tensor], lines: Sequence[Tensor]) -> None:
        super().__init__()
        self.planes = nn.ParameterList(nn.Parameter(plane) for plane in planes)
        self.lines = nn.ParameterList(nn.Parameter(line) for line in lines)

    @classmethod
    def random(cls, resolution: Sequence[int], components: Sequence[int], generator: torch.Generator) -> VMGrid:
        """Normal noise of standard deviation 0.1, as published. `components` has one count a plane."""

        def noise(*shape: int) -> Tensor:
            return cls.initial_scale * torch.randn(shape, generator=generator, device=generator.device)

        planes = [noise(resolution[v], resolution[u], c) for (u, v), c in zip(PLANE_AXES, components, strict=True)]
        lines = [noise(resolution[w], c) for w, c in zip(LINE_AXES, components, strict=True)]
        return cls(planes, lines)

    @property
    def n_features(self) -> int:
        """Channels of `features`: the components of all planes."""
        return sum(line.shape[1] for line in self.lines)

    def density(self, coords: Tensor) -> Tensor:
        """Sum over planes and components of plane times line at `coords [samples, 3]` in [-1, 1]: `[samples]`."""
        return grid_ops.vm_density(tuple(self.planes), tuple(self.lines), coords)

    def features(self, coords: Tensor) -> Tensor:
        """Plane times line, components of the three planes side by side: `[samples, n_features]`."""
        return grid_ops.vm_features(tuple(self.planes), tuple(self.lines), coords)

    def features_in(self, basis: Tensor, coords: Tensor) -> Tensor:
        """`features` in a `basis [outputs, n_features]`: `[samples, outputs]`; the features are not kept in memory."""
        return grid_ops.vm_basis_features(tuple(self.planes), tuple(self.lines), basis, coords)

    @torch.no_grad()
    def resize(self, resolution: Sequence[int]) -> None:
        """Bilinear (align_corners) resampling to `resolution` (x, y, z); parameters are replaced."""
        for m, (u, v) in enumerate(PLANE_AXES):
            self.planes[m] = nn.Parameter(resize_plane(self.planes[m], (resolution[v], resolution[u])))
            self.lines[m] = nn.Parameter(resize_line(self.lines[m], resolution[LINE_AXES[m]]))

    def crop_slices(self, start: Sequence[int], stop: Sequence[int]) -> dict[nn.Parameter, tuple[slice, ...]]:
        """For each parameter, the part that a crop to cells `start … stop` (x, y, z; stop excluded) keeps."""
        slices: dict[nn.Parameter, tuple[slice, ...]] = {}
        for m, (u, v) in enumerate(PLANE_AXES):
            w = LINE_AXES[m]
            slices[self.planes[m]] = (slice(start[v], stop[v]), slice(start[u], stop[u]))
            slices[self.lines[m]] = (slice(start[w], stop[w]),)
        return slices

    def total_variation(self, weight: float = 1.0) -> Tensor:
        """`weight` times the planes' total variation as weighed by the published code, which leaves out lines."""
        return planes_tv(tuple(self.planes), self.tv_scale, weight)

    def l1(self) -> Tensor:
        """Sum over planes and lines of the mean absolute value."""
        return reduce(torch.add, (parameter.abs().mean() for parameter in self.parameters()))

    def orthogonality(self) -> Tensor:
        """Sum over lines of the mean absolute product of two different components (the published vectorDiffs)."""
        return reduce(torch.add, (mean_off_diagonal(line) for line in self.lines))


class CPGrid(nn.Module):
    """A sum of products of three lines; `lines` are along x, y and z, each `[n, components]`."""

    tv_scale = 1e-3
    initial_scale = 0.2

    def __init__(self, lines: Sequence[Tensor]) -> None:
        super().__init__()
        self.lines = nn.ParameterList(nn.Parameter(line) for line in lines)

    @classmethod
    def random(cls, resolution: Sequence[int], components: Sequence[int], generator: torch.Generator) -> CPGrid:
        """Normal noise of standard deviation 0.2, as published. `components` is one count."""
        shapes = [(n, components[0]) for n in resolution]
        return cls([cls.initial_scale * torch.randn(s, generator=generator, device=generator.device) for s in shapes])

    @property
    def n_features(self) -> int:
        """Channels of `features`."""
        return self.lines[0].shape[1]

    def density(self, coords: Tensor) -> Tensor:
        """Sum over components of the product of the three lines at `coords [samples, 3]`: `[samples]`."""
        return grid_ops.cp_density(tuple(self.lines), coords)

    def features(self, coords: Tensor) -> Tensor:
        """The product of the three lines, `[samples, n_features]`."""
        return grid_ops.cp_features(tuple(self.lines), coords)

    def features_in(self, basis: Tensor, coords: Tensor) -> Tensor:
        """`features` in a `basis [outputs, n_features]`: `[samples, outputs]`."""
        return nn.functional.linear(self.features(coords), basis)

    @torch.no_grad()
    def resize(self, resolution: Sequence[int]) -> None:
        """Linear (align_corners) resampling to `resolution` (x, y, z); parameters are replaced."""
        for axis in range(3):
            self.lines[axis] = nn.Parameter(resize_line(self.lines[axis], resolution[axis]))

    def crop_slices(self, start: Sequence[int], stop: Sequence[int]) -> dict[nn.Parameter, tuple[slice, ...]]:
        """For each parameter, the part that a crop to cells `start … stop` (x, y, z; stop excluded) keeps."""
        return {self.lines[axis]: (slice(start[axis], stop[axis]),) for axis in range(3)}

    def total_variation(self, weight: float = 1.0) -> Tensor:
        """`weight` times the total variation of the three lines, as weighed by the published code."""
        return planes_tv([as_plane(line) for line in self.lines], self.tv_scale, weight)

    def l1(self) -> Tensor:
        """Sum over lines of the mean absolute value."""
        return reduce(torch.add, (line.abs().mean() for line in self.lines))

    def orthogonality(self) -> Tensor:
        """Sum over lines of the mean absolute product of two different components."""
        return reduce(torch.add, (mean_off_diagonal(line) for line in self.lines))


Grid = VMGrid | CPGrid | VoxelGrid
FACTORISED: dict[str, type[VMGrid] | type[CPGrid]] = {"vm": VMGrid, "cp": CPGrid}


def make_grid(
    kind: str, resolution: Sequence[int], components: Sequence[int], channels: int, generator: torch.Generator
) -> Grid:
    """A grid at its start, noise from `generator` where it is factorised and zeros where it is dense.

    Args:
        kind: `vm`, `cp` or `dense`.
        resolution: corners along x, y, z.
        components: of a factorised grid, which has as many features.
        channels: of a dense grid.
    """
    if kind == "dense":
        return VoxelGrid.zeros(resolution, channels, generator.device)
    return FACTORISED[kind].random(resolution, components, generator)


def mean_off_diagonal(line: Tensor) -> Tensor:
    """Mean absolute inner product of two different components of `line [n, components]`."""
    products = line.T @ line
    n = products.shape[0]
    off_diagonal = products - torch.diag(products.diagonal())
    return off_diagonal.abs().sum() / max(n * (n - 1), 1)
