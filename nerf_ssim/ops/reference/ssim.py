"""SSIM in plain PyTorch: the specification that native code is compared with.

Under a window with weights w: mu = sum w v, var = sum w v^2 - mu^2, cov likewise; then
S1 = (2 mu_x mu_y + C1) / (mu_x^2 + mu_y^2 + C1), S2 = (2 cov + C2) / (var_x + var_y + C2) and SSIM = S1 S2.
Source: Wang et al. 2004, equations 6, 9 and 13 with the usual C3 = C2 / 2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nerf_ssim.ops.ssim_window import SsimWindow


def window_means(images: Tensor, window: SsimWindow) -> Tensor:
    """Weighted mean of `images [n, height, width]` under every window: `[n, rows, columns]`; zeros lie around the image."""
    taps = torch.tensor(window.taps, dtype=images.dtype, device=images.device)
    before, after = window.padding_before, window.padding_after
    padded = F.pad(images[:, None], (before, after, before, after))
    by_rows = F.conv2d(padded, taps.view(1, 1, -1, 1), stride=(window.stride, 1))
    return F.conv2d(by_rows, taps.view(1, 1, 1, -1), stride=(1, window.stride))[:, 0]


def ssim_moments(x: Tensor, y: Tensor, window: SsimWindow) -> Tensor:
    """Window means of x, y, x^2, y^2 and x y for `x, y [planes, height, width]`: `[5, planes, rows, columns]`."""
    products = torch.stack((x, y, x * x, y * y, x * y))
    means = window_means(products.flatten(0, 1), window)
    return means.unflatten(0, (5, x.shape[0]))


def similarity(moments: Tensor, window: SsimWindow) -> tuple[Tensor, Tensor, Tensor]:
    """Luminance S1, contrast-structure S2 and mu_x - mu_y, each `[...]`, from `moments [5, ...]`."""
    mean_x, mean_y, square_x, square_y, product = moments.unbind(0)
    variance_x, variance_y = square_x - mean_x * mean_x, square_y - mean_y * mean_y
    covariance = product - mean_x * mean_y
    if window.clamp_variance:
        variance_x, variance_y = variance_x.clamp_min(0), variance_y.clamp_min(0)
        covariance = _bounded_covariance(covariance, variance_x * variance_y)
    luminance = (2 * mean_x * mean_y + window.c1) / (mean_x * mean_x + mean_y * mean_y + window.c1)
    structure = (2 * covariance + window.c2) / (variance_x + variance_y + window.c2)
    return luminance, structure, mean_x - mean_y


def _bounded_covariance(covariance: Tensor, variance_product: Tensor) -> Tensor:
    """|covariance| at most the root of the variances' product, with a gradient of 0, not NaN, where that root is 0."""
    is_positive = variance_product > 0
    bound = torch.where(is_positive, torch.where(is_positive, variance_product, 1).sqrt(), 0)
    return torch.where(covariance.abs() > bound, covariance.sign() * bound, covariance)


def s3im_image(colours: Tensor, orders: Tensor, patch_height: int) -> Tensor:
    """The stochastic image: `colours [rays, 3]` taken in the `orders [repeat, rays]`, one after the other, and read as
    the rows of one image `[3, patch_height, repeat * rays / patch_height]`."""
    return colours[orders.flatten()].T.reshape(colours.shape[1], patch_height, -1)
