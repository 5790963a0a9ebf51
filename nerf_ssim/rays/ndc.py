"""Normalised device coordinates (NDC): a finite box for all that forward-facing cameras see, out to infinity.

A frame stands at the mean camera, and its unit is the depth of the near plane. A point at `(x, y, z)` in it (x right, y
down, z forward) has the coordinates `(x / (z tan_x), -y / (z tan_y), 1 - 2 / z)`: what the mean camera sees between the
near plane and infinity is the cube from -1 to 1, and straight lines stay straight.
Source: Mildenhall et al. 2020, appendix C; the frame, the near plane and the box are those of the published TensoRF.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nerf_ssim.datasets.scene import Scene, Views
from nerf_ssim.errors import SceneError
from nerf_ssim.ops.marching import OccupancyGrid, Samples, march_box
from nerf_ssim.rays.cameras import Rays, image_directions

__all__ = ["NDC_BOX", "Ndc", "NdcRays"]

NDC_BOX = ((-1.5, -1.67, -1.0), (1.5, 1.67, 1.0))
NEAR_PLANE = 1 / 1.2  # of the scene's near: with LLFF's, which is 0.9 of the nearest depth, 0.75 of that depth

LEAST_FORWARD = 1e-6  # cosine to the frame's axis below which a ray never comes to the near plane
LEAST_FORWARD_OF_PIXELS = 0.05  # the same for a scene's pixels, under which it isn't forward-facing
LEAST_DEPTH = 0.1  # near planes: points beside and behind the mean camera count as this far before it
LEAST_REST = 1e-4  # of a ray's way to infinity, so that its end has a distance


@dataclass(frozen=True)
class NdcRays:
    """Rays in NDC: `origins` at t = 0, and `origins + directions` at infinity, at t = 1; both `[rays, 3]`.

    Args:
        start: distance `[rays]` from the camera to t = 0, scene units.
        pace: distance `[rays]` from there to t = 1/2.
    """

    origins: Tensor
    directions: Tensor
    start: Tensor
    pace: Tensor

    @property
    def unit_directions(self) -> Tensor:
        """The directions `[rays, 3]` with unit length; 0 for a ray that never comes to the near plane."""
        return normalize(self.directions, dim=1)

    def distance(self, t: Tensor) -> Tensor:
        """Distance from the camera `[rays]` at `t [rays]`, scene units; infinity counts as 10,000 paces."""
        return self.start + self.pace * t / (1 - t).clamp_min(LEAST_REST)

    def march(
        self, aabb: Tensor, n_samples: int, jitter: Tensor | None = None, occupancy: OccupancyGrid | None = None
    ) -> Samples:
        """Samples at equal distances in t from 0 to 1, those in `aabb [2, 3]` and in occupied space.

        Args:
            jitter: an offset in [0, 1) a ray `[rays]`, in parts of 1 / n_samples; None for none.
        Returns:
            `Samples` whose `t` is in [0, 1] and whose `delta` is a length in NDC.
        """
        steps = max(n_samples - 1, 1)
        offset = None if jitter is None else jitter * (steps / n_samples)
        # With near and far 0 a ray begins at its origin, wherever it enters the box.
        samples = march_box(self.origins, self.directions, aabb, 0.0, 0.0, 1 / steps, n_samples, offset, occupancy)
        return samples._replace(delta=samples.delta * self.directions.norm(dim=1)[samples.ray_index])


@dataclass(frozen=True)
class Ndc:
    """The map from the world to NDC.

    Args:
        frame: `[3, 4]`, world to the mean camera's axes, in units of the near plane's depth.
        tangents: `[2]`, of half the horizontal and half the vertical angle of view.
    """

    frame: Tensor
    tangents: Tensor

    @classmethod
    def of_scene(cls, scene: Scene) -> Ndc:
        """The map of a scene, in float32 on the CPU.

        Raises:
            SceneError: a scene without near, or whose cameras do not all look the same way.
        """
        if len(scene.train) + len(scene.test) == 0:
            raise SceneError(f"{scene.name}: ndc_ray needs the scene's cameras; give its folder with --datadir")
        if not scene.near > 0:
            raise SceneError(f"{scene.name}: ndc_ray needs a near plane before the cameras, and near is 0; give --near")
        cameras = torch.cat([views.c2w for views in (scene.train, scene.test)]).cpu().double()
        axes = _mean_axes(cameras)
        for views in (scene.train, scene.test):
            _refuse_other_directions(scene.name, views, axes[2])
        turned = axes / (scene.near * NEAR_PLANE)
        frame = torch.cat([turned, -turned @ cameras[:, :, 3].mean(0)[:, None]], dim=1)
        tangents = torch.stack([_tangents(views).amax(0) for views in (scene.train, scene.test) if len(views)]).amax(0)
        return cls(frame.float(), tangents.float())

    def rays(self, rays: Rays) -> NdcRays:
        """World rays in NDC, from the near plane on, or from the camera where that is beyond it.

        A ray that never comes to the near plane gets an origin outside the box and no length.
        Deviation: published rays begin at the near plane even before a camera that has passed it, behind its back.
        """
        origins = rays.origins @ self.frame[:, :3].T + self.frame[:, 3]
        along = rays.directions @ self.frame[:, :3].T
        is_ahead = along[:, 2] > LEAST_FORWARD * along.norm(dim=1)
        forward = torch.where(is_ahead, along[:, 2], 1.0)
        start = torch.where(is_ahead, ((1 - origins[:, 2]) / forward).clamp_min(0), 0.0)
        begin = origins + start[:, None] * along
        depth = begin[:, 2].clamp_min(1)
        scale = self._scale
        place, end = begin[:, :2] / depth[:, None] * scale, along[:, :2] / forward[:, None] * scale
        ends = torch.cat([place, 1 - 2 / depth[:, None]], dim=1), torch.cat([end - place, 2 / depth[:, None]], dim=1)
        outside = torch.full_like(ends[0], 10.0)
        return NdcRays(
            torch.where(is_ahead[:, None], ends[0], outside),
            torch.where(is_ahead[:, None], ends[1], 0.0),
            start,
            torch.where(is_ahead, depth / forward, 0.0),
        )

    def of_world(self, points: Tensor) -> Tensor:
        """World `points [n, 3]` in NDC; those beside or behind the mean camera lie outside the box."""
        x_y_z = points @ self.frame[:, :3].T + self.frame[:, 3]
        depth = x_y_z[:, 2:].clamp_min(LEAST_DEPTH)
        return torch.cat([x_y_z[:, :2] / depth * self._scale, 1 - 2 / depth], dim=1)

    def to_world(self, points: Tensor) -> Tensor:
        """NDC `points [n, 3]` in the world; infinite from the far end of the box on."""
        is_finite = points[:, 2:] < 1
        depth = torch.where(is_finite, 2 / (1 - points[:, 2:]), 1.0)
        x_y_z = torch.cat([points[:, :2] / self._scale * depth, depth], dim=1)
        turned = self.frame[:, :3].double()
        world = torch.linalg.solve(turned, (x_y_z - self.frame[:, 3]).T.to(turned)).T.to(points)
        return torch.where(is_finite, world, torch.inf)

    def directions_at(self, points: Tensor, directions: Tensor) -> Tensor:
        """How world `directions [n, 3]` point at NDC `points [n, 3]`: unit vectors."""
        along = directions @ self.frame[:, :3].T
        depth = 2 / (1 - points[:, 2:]).clamp_min(LEAST_REST)
        across = along[:, :2] * self._scale - points[:, :2] * along[:, 2:]
        return normalize(torch.cat([across, 2 / depth * along[:, 2:]], dim=1), dim=1)

    @property
    def _scale(self) -> Tensor:
        return torch.stack([1 / self.tangents[0], -1 / self.tangents[1]])


def _mean_axes(cameras: Tensor) -> Tensor:
    """Rows right, down and forward of the mean of `cameras [n, 3, 4]`."""
    forward = normalize(cameras[:, :, 2].mean(0), dim=0)
    right = normalize(torch.linalg.cross(cameras[:, :, 1].mean(0), forward), dim=0)
    return torch.stack([right, torch.linalg.cross(forward, right), forward])


def _refuse_other_directions(name: str, views: Views, forward: Tensor) -> None:
    """Raises SceneError where a pixel looks across the direction `forward [3]` or against it."""
    for index in range(len(views)):
        height, width = views.size_of(index)
        x, y = (
            torch.tensor(side, device=views.K.device) for side in ([0.0, width, 0, width], [0.0, 0, height, height])
        )
        corners = normalize(image_directions(views.K[index : index + 1], x, y).cpu().double(), dim=1)
        cosine = float((corners @ views.c2w[index, :, :3].cpu().double().T @ forward).min())
        if cosine < LEAST_FORWARD_OF_PIXELS:
            angle = math.degrees(math.acos(max(-1.0, cosine)))
            raise SceneError(
                f"{name}: ndc_ray is for cameras that face one way, and pixels of {views.names[index]} look "
                f"{angle:.0f} degrees away from the mean direction; leave it out"
            )


def _tangents(views: Views) -> Tensor:
    """Of half the angles of view `[views, 2]`, of pictures centred on their principal points."""
    sizes = torch.tensor([views.size_of(index)[::-1] for index in range(len(views))], dtype=torch.float64)
    K = views.K.cpu().double()
    return sizes / (2 * torch.stack([K[:, 0, 0], K[:, 1, 1]], dim=1))
