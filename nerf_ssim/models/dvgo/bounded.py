"""DVGO in a box that holds the scene, the original model: a coarse stage finds the box, a fine one fills it."""

from __future__ import annotations

import torch
from torch import Tensor

from nerf_ssim.models.dvgo.field import VoxelField, VoxelSamples, VoxelSettings, widen
from nerf_ssim.models.parts.occupancy import occupied_box
from nerf_ssim.models.parts.voxel_grid import VoxelGrid, node_coords
from nerf_ssim.ops.marching import OccupancyGrid, march_box
from nerf_ssim.ops.voxels import nearest_occupied, voxel_features
from nerf_ssim.rays.cameras import Rays

__all__ = ["BoundedDVGO"]

FAR = 1e9  # a ray's entry into the box is clamped from below only
EMPTY_DENSITY = -100.0


class BoundedDVGO(VoxelField):
    """A voxel field in a box.

    Args:
        settings: see `VoxelSettings`.
        aabb: the box `[2, 3]` in world coordinates.
        num_voxels: of the grid over it.
        near: the ray's entry into the box is at least this far, scene units.
        generator: draws the network's initial weights.
    """

    def __init__(
        self, settings: VoxelSettings, aabb: Tensor, num_voxels: int, *, near: float, generator: torch.Generator
    ) -> None:
        super().__init__(settings, aabb, aabb[1] - aabb[0], num_voxels, generator)
        self.near = near
        self.diagonal: float = self.extent.norm().item()

    def march(self, rays: Rays) -> VoxelSamples:
        """Even samples from each ray's entry into the box."""
        coords, t, ray_index, ray_offsets = self._march_all(rays)
        kept = nearest_occupied(self.mask, coords).nonzero()[:, 0]  # once: a GPU waits for how many there are
        counts = torch.bincount(ray_index[kept], minlength=len(rays))
        offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
        return VoxelSamples(coords[kept], t[kept], ray_index[kept], offsets, unit=1.0, spacing=0.0)

    def places(self, t: Tensor) -> Tensor:
        """Zeros: there is no distortion loss in a box, so places need no order."""
        return torch.zeros_like(t)

    def to_world(self, coords: Tensor) -> Tensor:
        """`coords [n, 3]` in [-1, 1] of the box as world points."""
        return self.aabb[0] + (coords + 1) / 2 * (self.aabb[1] - self.aabb[0])

    def from_world(self, points: Tensor) -> Tensor:
        """World `points [n, 3]` in [-1, 1] of the box."""
        return (points - self.aabb[0]) / (self.aabb[1] - self.aabb[0]) * 2 - 1

    def meets_mask(self, rays: Rays) -> Tensor:
        """Whether each ray has a sample that the mask lets through (bool `[rays]`)."""
        return self.march(rays).ray_offsets.diff() > 0

    @torch.no_grad()
    def hide_near(self, centres: Tensor, distance: float) -> None:
        """Empties the voxels within `distance` of camera `centres [n, 3]`, for the start of training."""
        values = self.coarse_density.values
        for x, plane in enumerate(self.to_world(node_coords(self.resolution, self.aabb.device))):
            # Exact differences: the product form of the distance loses the digits that decide.
            distances = torch.cdist(plane.view(-1, 3), centres, compute_mode="donot_use_mm_for_euclid_dist")
            is_near = distances.amin(1) <= distance
            values[x].view(-1)[is_near] = EMPTY_DENSITY

    @property
    def coarse_density(self) -> VoxelGrid:
        """The density grid of the coarse stage, which is dense whatever the fine one's is."""
        assert isinstance(self.density, VoxelGrid)
        return self.density

    def weight_of_samples(self, rays: Rays) -> Tensor:
        """Sum of the interpolation weights of all samples of `rays` at each node, `[X, Y, Z]`; the mask has no say."""
        values = torch.zeros(*self.resolution, 1, device=self.aabb.device, requires_grad=True)
        coords, _, _, _ = self._march_all(rays)
        return torch.autograd.grad(voxel_features(values, coords).sum(), values)[0][..., 0]

    def opaque_box(self, threshold: float) -> Tensor | None:
        """The smallest box `[2, 3]` around the nodes more opaque than `threshold`, or None when there are none."""
        return occupied_box(OccupancyGrid(self.alpha(self.resolution) > threshold, self.aabb))

    def open_where(self, other: BoundedDVGO, threshold: float) -> None:
        """Makes the mask anew: open at nodes that lie nearest to a node around which `other` has at least this
        opacity."""
        coords = other.from_world(self.to_world(node_coords(self.resolution, self.aabb.device).view(-1, 3)))
        is_open = widen(other.alpha(other.resolution)) >= threshold
        self.mask = nearest_occupied(is_open, coords).view(self.resolution)

    def _march_all(self, rays: Rays) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        step = self.settings.stepsize * self.voxel_size
        samples = march_box(
            rays.origins, rays.directions, self.aabb, self.near, FAR, step, int(self.diagonal / step) + 2, None, None
        )
        return samples.coords, samples.t, samples.ray_index, samples.ray_offsets
