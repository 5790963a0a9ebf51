"""DVGO's losses of a render that want to know more than its tensors, unweighted."""

from __future__ import annotations

from torch import Tensor

from nerf_ssim.models.dvgo.field import VoxelRender
from nerf_ssim.ops.alpha_compositing import distortion_loss
from nerf_ssim.ops.ray_losses import point_error

__all__ = ["distortion", "point_color_error"]


def point_color_error(render: VoxelRender, target: Tensor) -> Tensor:
    """Squared error of each sample's own colour against its ray's `target [rays, 3]`, by weight, a mean over rays.

    Weights are constants here: colours learn from it, density does not.
    """
    return point_error(render.point_rgb, render.weights.detach(), render.ray_index, target)


def distortion(render: VoxelRender) -> Tensor:
    """How spread out the weights of the coloured samples are along their rays."""
    return distortion_loss(render.weights, render.place, render.ray_index, render.spacing)
