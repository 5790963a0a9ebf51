"""Specification of DVGO's compositing: opacity of a voxel density, weights along each ray, distortion loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nerf_ssim.ops.reference.compositing import exclusive_product, ray_index_of


def voxel_alpha(density: Tensor, shift: float, interval: float) -> Tensor:
    """1 - (1 + exp(density + shift))^(-interval), in a form that keeps the digits of small opacities."""
    return -torch.expm1(-interval * F.softplus(density + shift, threshold=100))


def composite_voxels(
    density: Tensor, ray_offsets: Tensor, shift: float, interval: float, alpha_threshold: float, stop: float
) -> tuple[Tensor, Tensor]:
    """Weights `[S]` and the light left at the end of each ray `[R]`; see `ops.alpha_compositing`."""
    alpha = voxel_alpha(density, shift, interval)
    alpha = torch.where(alpha > alpha_threshold, alpha, 0)
    ray_index = ray_index_of(ray_offsets)
    with torch.no_grad():
        is_reached = exclusive_product(1 - alpha, ray_index, ray_offsets) >= stop
    alpha = torch.where(is_reached, alpha, 0)
    light = exclusive_product(1 - alpha, ray_index, ray_offsets)
    has_samples = ray_offsets.diff() > 0
    last = ray_offsets[1:][has_samples] - 1
    background = light.new_ones(len(ray_offsets) - 1).index_put((has_samples,), light[last] * (1 - alpha[last]))
    return alpha * light, background


def distortion_loss(weights: Tensor, s: Tensor, ray_index: Tensor, interval: float) -> Tensor:
    """Mip-NeRF 360's distortion of packed samples, by prefix sums along each ray; see `ops.alpha_compositing`."""
    if not len(weights):
        return weights.sum()
    is_first = torch.cat((ray_index.new_ones(1), ray_index.diff())) != 0
    segment = is_first.cumsum(0) - 1
    first = is_first.nonzero()[:, 0][segment]

    def of_earlier(values: Tensor) -> Tensor:
        before = F.pad(values.double().cumsum(0), (1, 0))[:-1]  # over all rays, hence in double precision
        return (before - before[first]).to(values.dtype)

    pairs = 2 * weights * (s * of_earlier(weights) - of_earlier(weights * s))
    return (pairs + interval / 3 * weights.square()).sum() / (ray_index[-1] + 1)
