"""Structural similarity of image planes, and of a stochastic image of rays (S3IM)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nerf_ssim.ops.reference import ssim as reference
from nerf_ssim.ops.ssim_window import SsimWindow


class SsimStatistics(NamedTuple):
    """Means over all windows and channels, detached 0-dim tensors.

    `mean_difference` is the signed mean of mu_x - mu_y, `mean_difference_abs` the mean of its size.
    """

    ssim: Tensor
    luminance: Tensor
    structure: Tensor
    mean_difference: Tensor
    mean_difference_abs: Tensor


class SsimMaps(NamedTuple):
    """One value a window: SSIM = luminance * structure, and mu_x - mu_y."""

    ssim: Tensor
    luminance: Tensor
    structure: Tensor
    mean_difference: Tensor


def ssim_maps(x: Tensor, y: Tensor, window: SsimWindow) -> SsimMaps:
    """The index and its parts for `x, y [planes, height, width]`, each `[planes, rows, columns]`, differentiable in both."""
    luminance, structure, difference = reference.similarity(reference.ssim_moments(x, y, window), window)
    return SsimMaps(luminance * structure, luminance, structure, difference)


def ssim_mean(x: Tensor, y: Tensor, window: SsimWindow) -> tuple[Tensor, SsimStatistics]:
    """Mean index of `x, y [planes, height, width]` (0-dim, differentiable in both) and the means of its parts."""
    maps = ssim_maps(x, y, window)
    mean = maps.ssim.mean()
    return mean, _statistics(mean, maps)


def s3im(
    rendered: Tensor, target: Tensor, orders: Tensor, patch_height: int, window: SsimWindow
) -> tuple[Tensor, SsimStatistics]:
    """1 - mean SSIM of the stochastic image, and the means of its parts with x the target and y the rendered colours.

    Args:
        rendered, target: colours of the same rays, `[rays, channels]`.
        orders: indices into the rays, `[repeat, rays]`, int64; one order after the other fills the image row by row.
        patch_height: rows of the image, a divisor of the number of rays; it has `repeat * rays / patch_height` columns.
    """
    x = reference.s3im_image(target, orders, patch_height)
    y = reference.s3im_image(rendered, orders, patch_height)
    mean, statistics = ssim_mean(x, y, window)
    return 1 - mean, statistics


def _statistics(mean: Tensor, maps: SsimMaps) -> SsimStatistics:
    with torch.no_grad():
        difference = maps.mean_difference
        return SsimStatistics(
            mean.detach(), maps.luminance.mean(), maps.structure.mean(), difference.mean(), difference.abs().mean()
        )
