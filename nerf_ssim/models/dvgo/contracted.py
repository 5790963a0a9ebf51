"""DVGO around cameras that look outward: the unit ball as it is, and all beyond it drawn into a thin shell."""

from __future__ import annotations

import torch
from torch import Tensor

from nerf_ssim.models.dvgo.field import VoxelField, VoxelSamples, VoxelSettings
from nerf_ssim.ops.contracted import march_contracted
from nerf_ssim.ops.reference.contracted import contract
from nerf_ssim.rays.cameras import Rays

__all__ = ["ContractedDVGO", "ray_distances"]

FARTHEST = 128  # the last place on a ray is this many times farther than the first outer one
CLOSEST_PLACES = 0.95  # of the distance between samples: outer samples nearer than this to the last are left out


class ContractedDVGO(VoxelField):
    """A voxel field over contracted space.

    Args:
        settings: see `VoxelSettings`.
        aabb: the cube `[2, 3]` in world coordinates whose inner ball is not contracted.
        num_voxels: of the grid, which is a cube about the ball and its shell.
        bg_len: thickness of the shell, in radii of the ball.
        generator: draws the network's initial weights.

    Attributes:
        centre: of the ball, world coordinates `[3]`.
        radius: of the ball, scene units.
    """

    centre: Tensor

    def __init__(
        self,
        settings: VoxelSettings,
        aabb: Tensor,
        num_voxels: int,
        *,
        bg_len: float,
        generator: torch.Generator,
    ) -> None:
        ends = torch.ones(3, device=aabb.device) + bg_len
        super().__init__(settings, aabb, ends - -ends, num_voxels, generator)
        self.bg_len = bg_len
        self.radius: float = ((aabb[1] - aabb[0]) * 0.5)[0].item()
        self.register_buffer("centre", (aabb[0] + aabb[1]) * 0.5, persistent=False)
        self._distances: Tensor | None = None

    def march(self, rays: Rays) -> VoxelSamples:
        """The same places on every ray: even ones up to 2 radii, then ones that are even in inverse distance."""
        length = 2 * (1 + self.bg_len)
        step, world_len = self.settings.stepsize, self.resolution[0]
        t = self._places_of_rays(int(2 / length * world_len / step) + 1, like=rays.origins)
        samples = march_contracted(
            (rays.origins - self.centre) / self.radius,
            rays.directions,
            t,
            bg_len=self.bg_len,
            min_distance=length / world_len * step * CLOSEST_PLACES,
            mask=self.mask,
        )
        return VoxelSamples(*samples, unit=self.radius, spacing=1 / len(t))

    def places(self, t: Tensor) -> Tensor:
        """Distances in radii, drawn into [0, 1)."""
        return 1 - 1 / (1 + t)

    def _places_of_rays(self, n: int, like: Tensor) -> Tensor:
        """`ray_distances`, kept from one call to the next: they change with the resolution only."""
        kept = self._distances
        if kept is None or len(kept) != 2 * n or kept.device != like.device:
            self._distances = kept = ray_distances(n, like)
        return kept

    def to_world(self, coords: Tensor) -> Tensor:
        """`coords [n, 3]` in [-1, 1] of the grid's cube as world points; infinite beyond what rays reach."""
        contracted = coords * (1 + self.bg_len)
        norm = contracted.norm(dim=1, keepdim=True)
        distance = self.bg_len / (1 + self.bg_len - norm)  # of the contraction's formula, solved for it
        is_reached = (norm < 1 + self.bg_len) & (distance <= 2 * FARTHEST)
        outer = torch.where(is_reached, contracted * (distance / norm.clamp_min(1)), torch.inf)
        return self.centre + self.radius * torch.where(norm <= 1, contracted, outer)

    def from_world(self, points: Tensor) -> Tensor:
        """World `points [n, 3]` in [-1, 1] of the grid's cube."""
        return contract((points - self.centre) / self.radius, self.bg_len)[0] / (1 + self.bg_len)

    def extinction(self, coords: Tensor) -> Tensor:
        """As of any voxel field; 0 beyond what rays reach."""
        return super().extinction(coords) * self.to_world(coords).isfinite().all(1)


def ray_distances(n: int, like: Tensor) -> Tensor:
    """Midpoints of `n` even intervals of [0, 2], then of `n` from 2 to 256 that are even in inverse distance: `[2 n]`.

    They have the dtype and device of `like`.
    """
    inner = torch.linspace(0, 2, n + 1, device=like.device, dtype=like.dtype)
    outer = 2 / torch.linspace(1, 1 / FARTHEST, n + 1, device=like.device, dtype=like.dtype)
    return torch.cat([(ends[1:] + ends[:-1]) * 0.5 for ends in (inner, outer)])
