"""DVGO's losses of a render beside MSE and SSIM, unweighted."""

from __future__ import annotations

from torch import Tensor

from nerf_ssim.models.dvgo.field import VoxelRender
from nerf_ssim.ops.alpha_compositing import distortion_loss

__all__ = ["background_entropy", "distortion", "point_color_error"]

SURE = 1e-6  # probabilities are kept this far from 0 and 1


def background_entropy(background: Tensor) -> Tensor:
    """Mean entropy (nats) of "the ray goes through": its light left `background [rays]` as a probability."""
    p = background.clamp(SURE, 1 - SURE)
    return -(p * p.log() + (1 - p) * (1 - p).log()).mean()


def point_color_error(render: VoxelRender, target: Tensor) -> Tensor:
    """Squared error of each sample's own colour against its ray's `target [rays, 3]`, by weight, a mean over rays.

    Weights are constants here: colours learn from it, density does not.
    """
    error = (render.point_rgb - target[render.ray_index]).square().sum(-1)
    return (error * render.weights.detach()).sum() / len(target)


def distortion(render: VoxelRender) -> Tensor:
    """How spread out the weights of the coloured samples are along their rays."""
    return distortion_loss(render.weights, render.place, render.ray_index, render.spacing)
