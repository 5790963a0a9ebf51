"""DVGO (Sun et al. 2022): a grid of raw density, one of colour features, and a small colour network.

What the contracted and the bounded model share; each adds how its rays are marched.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nerf_ssim.models.parts.decoders import linear, make_voxel_decoder
from nerf_ssim.models.parts.grids import make_grid
from nerf_ssim.models.parts.rendering import Render, depth_of
from nerf_ssim.models.parts.voxel_grid import VoxelGrid, node_coords
from nerf_ssim.ops.alpha_compositing import composite_voxels, voxel_alpha
from nerf_ssim.ops.compositing import accumulate
from nerf_ssim.ops.selection import select_samples
from nerf_ssim.ops.voxels import nearest_occupied
from nerf_ssim.rays.cameras import Rays

__all__ = ["MASK_VOXELS_MAX", "VoxelField", "VoxelRender", "VoxelSamples", "VoxelSettings", "initial_shift"]

MASK_VOXELS_MAX = 256**3  # a finer grid keeps the mask that it had
NODES_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class VoxelSettings:
    """What a voxel field is made with; the options of these names, which differ between the stages of a run.

    grid: `dense`, or `vm` or `cp` of `n_lamb_sigma` and `n_lamb_sh` components.
    rgbnet_direct: whether the network makes the colour, or adds to one that is the first three features.
    """

    num_voxels_base: int
    alpha_init: float
    stepsize: float
    rgbnet_dim: int
    rgbnet_depth: int
    rgbnet_width: int
    viewbase_pe: int
    decoder_precision: str = "float32"
    grid: str = "dense"
    n_lamb_sigma: tuple[int, ...] = ()
    n_lamb_sh: tuple[int, ...] = ()
    rgbnet_direct: bool = True


@dataclass(frozen=True)
class VoxelSamples:
    """Packed samples: `coords [S, 3]` in [-1, 1] of the grid's box, distance `t [S]` in so many scene units of `unit`,
    the ray of each and where each ray's begin. `spacing` is how far apart the places of `VoxelField.places` are."""

    coords: Tensor
    t: Tensor
    ray_index: Tensor
    ray_offsets: Tensor
    unit: float
    spacing: float


@dataclass(frozen=True)
class VoxelRender(Render):
    """A render and what DVGO's losses look at.

    background: light left at the end of each ray `[rays]`. weights, point_rgb, ray_index, place: of the samples whose
    colour was evaluated, `[n]`, `[n, 3]`, `[n]`, `[n]`. spacing: see `VoxelSamples`.
    """

    background: Tensor
    weights: Tensor
    point_rgb: Tensor
    ray_index: Tensor
    place: Tensor
    spacing: float


class VoxelField(nn.Module, ABC):
    """A radiance field on voxels.

    Args:
        settings: kind of grid, sizes of the network, step and initial opacity.
        aabb: the box `[2, 3]` in world coordinates that the field is about.
        extent: sides of the grid's box `[3]`, in the units in which voxels are cubes.
        num_voxels: how many fill it, about.
        generator: draws the initial weights of the network and of factorised grids; dense ones begin at zero.

    Attributes:
        resolution: grid nodes along x, y, z.
        voxel_size: side of a voxel, in units of `extent` (float32 arithmetic, as published).
        voxel_size_ratio: side of a voxel in sides of a base voxel: the length for which `alpha` is an opacity.
    """

    name = "dvgo"
    aabb: Tensor
    extent: Tensor
    mask: Tensor

    def __init__(
        self, settings: VoxelSettings, aabb: Tensor, extent: Tensor, num_voxels: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("aabb", aabb.clone(), persistent=False)
        self.register_buffer("extent", extent.clone(), persistent=False)
        self.shift = initial_shift(settings.alpha_init)
        self._set_voxels(num_voxels)
        channels = settings.rgbnet_dim or 3
        self.density = make_grid(settings.grid, self.resolution, settings.n_lamb_sigma, 1, generator)
        self.k0 = make_grid(settings.grid, self.resolution, settings.n_lamb_sh, channels, generator)
        is_dense = settings.grid == "dense"
        self.basis = None if is_dense else linear(self.k0.n_features, channels, generator, bias=False)
        self.rgbnet = make_voxel_decoder(
            settings.rgbnet_dim,
            is_direct=settings.rgbnet_direct,
            depth=settings.rgbnet_depth,
            hidden=settings.rgbnet_width,
            view_frequencies=settings.viewbase_pe,
            precision=settings.decoder_precision,
            generator=generator,
        )
        open_everywhere = torch.ones(self.resolution, dtype=torch.bool, device=generator.device)
        self.register_buffer("mask", open_everywhere, persistent=False)

    @property
    def network(self) -> list[nn.Parameter]:
        """The parameters that are no grid's."""
        return [p for module in (self.basis, self.rgbnet) if module is not None for p in module.parameters()]

    @abstractmethod
    def march(self, rays: Rays) -> VoxelSamples:
        """The samples of `rays` that the mask lets through."""

    @abstractmethod
    def places(self, t: Tensor) -> Tensor:
        """What orders samples at distances `t [n]`, as `march` gives them, in [0, 1) for the distortion loss."""

    def render(
        self, rays: Rays, *, threshold: float, background: Tensor | float, with_depth: bool = True
    ) -> VoxelRender:
        """Colours of `rays`.

        Args:
            threshold: samples count if their opacity exceeds it, and have their colour evaluated if their weight does.
            background: behind the rays: a grey level, or colours `[rays, 3]`.
            with_depth: whether the depth is wanted too.
        """
        samples, n_rays = self.march(rays), len(rays)
        composited = composite_voxels(
            self.density.density(samples.coords),
            samples.ray_offsets,
            shift=self.shift,
            interval=self.settings.stepsize * self.voxel_size_ratio,
            alpha_threshold=threshold,
        )
        weights, coloured = select_samples(
            composited.weights, samples.ray_index, samples.coords, rays.directions, threshold, samples.t
        )
        point_rgb = self.color(coloured.coords, coloured.directions)
        rgb = accumulate(weights, point_rgb, coloured.ray_index, n_rays) + composited.background[:, None] * background
        depth = None
        if with_depth:
            depth = depth_of(composited.weights, samples.t * samples.unit, samples.ray_index, n_rays)
        return VoxelRender(
            rgb=rgb,
            opacity=1 - composited.background,
            depth=depth,
            n_samples=samples.t.numel(),
            n_coloured=weights.numel(),
            background=composited.background,
            weights=weights,
            point_rgb=point_rgb,
            ray_index=coloured.ray_index,
            place=self.places(coloured.t),
            spacing=samples.spacing,
        )

    def color(self, coords: Tensor, directions: Tensor) -> Tensor:
        """Colour `[n, 3]` in (0, 1) at `coords [n, 3]` seen along `directions [n, 3]`."""
        features = self.k0.features(coords) if self.basis is None else self.k0.features_in(self.basis.weight, coords)
        return self.rgbnet(coords, directions, features)

    @property
    def sides(self) -> Tensor:
        """Sides of the grid's box `[3]`, in the units in which voxels are cubes."""
        return self.extent

    @abstractmethod
    def to_world(self, coords: Tensor) -> Tensor:
        """`coords [n, 3]` in [-1, 1] of the grid's box as world points."""

    @abstractmethod
    def from_world(self, points: Tensor) -> Tensor:
        """World `points [n, 3]` in [-1, 1] of the grid's box."""

    def extinction(self, coords: Tensor) -> Tensor:
        """Optical thickness `[n]` of a unit of `sides` at `coords [n, 3]`; 0 where the mask is closed, as in a render.

        The opacity of n base voxels is 1 - (1 + exp(density + shift))^(-n), so a voxel's thickness is a softplus.
        """
        thickness = nn.functional.softplus(self.density.density(coords) + self.shift)
        return thickness * (self.voxel_size_ratio / self.voxel_size) * nearest_occupied(self.mask, coords)

    @torch.no_grad()
    def alpha(self, resolution: Sequence[int]) -> Tensor:
        """Opacity of a voxel's length at the nodes of a grid over the box, `[X, Y, Z]`."""
        if isinstance(self.density, VoxelGrid) and list(resolution) == self.resolution:
            density = self.density.values[..., 0]
        else:
            coords = node_coords(resolution, self.aabb.device).view(-1, 3)
            density = torch.cat([self.density.density(part) for part in coords.split(NODES_AT_ONCE)]).view(*resolution)
        return voxel_alpha(density, shift=self.shift, interval=self.voxel_size_ratio)

    def refresh_mask(self, threshold: float) -> None:
        """Closes the mask where neither a node nor one of its 26 neighbours is more opaque than `threshold`."""
        self.mask &= widen(self.alpha(self.mask.shape)) > threshold

    def scale(self, num_voxels: int, threshold: float) -> None:
        """Resamples both grids to `num_voxels`, and up to 256^3 nodes the mask, closed as by `refresh_mask`.

        Parameters are replaced, so the optimiser must be rebuilt.
        """
        self._set_voxels(num_voxels)
        self.density.resize(self.resolution)
        self.k0.resize(self.resolution)
        if math.prod(self.resolution) <= MASK_VOXELS_MAX:
            coords = node_coords(self.resolution, self.aabb.device).view(-1, 3)
            self.mask = nearest_occupied(self.mask, coords).view(self.resolution)
            self.refresh_mask(threshold)

    def state(self) -> dict:
        """Everything that `load_state` needs beside the settings, as tensors and plain values."""
        return {
            "aabb": self.aabb,
            "num_voxels": self.num_voxels,
            "shift": self.shift,
            "weights": self.state_dict(),
            "occupancy": {"volume": self.mask, "aabb": self.aabb},
        }

    def load_state(self, state: dict) -> None:
        """Takes over the weights, mask and shift of a `state` of the same settings, box and number of voxels."""
        self.load_state_dict(state["weights"])
        self.mask = state["occupancy"]["volume"].to(self.aabb.device)
        self.shift = state["shift"]

    def _set_voxels(self, num_voxels: int) -> None:
        """Takes over a number of voxels, and what follows from it, on the CPU: a GPU would round otherwise."""
        self.num_voxels = num_voxels
        extent = self.extent.cpu()
        side = voxel_side(extent, num_voxels)
        self.resolution: list[int] = (extent / side).long().tolist()
        self.voxel_size: float = side.item()
        self.voxel_size_ratio: float = (side / voxel_side(extent, self.settings.num_voxels_base)).item()


def initial_shift(alpha_init: float) -> float:
    """What makes a raw density of 0 an opacity of `alpha_init` over a base voxel (float32, as published)."""
    return torch.tensor(math.log(1 / (1 - alpha_init) - 1)).item()


def voxel_side(extent: Tensor, num_voxels: int) -> Tensor:
    """Side of the cubes of which `num_voxels` fill a box of sides `extent [3]`, a scalar of the same dtype."""
    return (extent.prod() / num_voxels).pow(1 / 3)


def widen(volume: Tensor) -> Tensor:
    """The largest of each node of `volume [X, Y, Z]` and its 26 neighbours."""
    return torch.nn.functional.max_pool3d(volume[None, None], 3, stride=1, padding=1)[0, 0]
