"""SSIM in plain PyTorch: the specification that native code is compared with.

Under a window with weights w: mu = sum w v, var = sum w v^2 - mu^2, cov likewise; then
S1 = (2 mu_x mu_y + C1) / (mu_x^2 + mu_y^2 + C1), S2 = (2 cov + C2) / (var_x + var_y + C2) and SSIM = S1 S2.
Source: Wang et al. 2004, equations 6, 9 and 13 with the usual C3 = C2 / 2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nerf_ssim.ops.ssim_window import SsimWindow, WindowPlaces


def window_means(images: Tensor, window: SsimWindow | WindowPlaces) -> Tensor:
    """Weighted mean of `images [n, height, width]` under every window, zeros around: `[n, rows, columns]`."""
    n, before, after = len(images), window.padding_before, window.padding_after
    taps = torch.tensor(window.taps, dtype=images.dtype, device=images.device).expand(n, 1, 1, -1)
    padded = F.pad(images, (before, after, before, after))[None]  # as channels: one plane each is a far slower product
    by_rows = F.conv2d(padded, taps.mT, stride=(window.stride, 1), groups=n)
    return F.conv2d(by_rows, taps, stride=(1, window.stride), groups=n)[0]


def ssim_moments(x: Tensor, y: Tensor, window: SsimWindow | WindowPlaces) -> Tensor:
    """Window means of x, y, x^2 + y^2 and x y for `x, y [planes, height, width]`: `[4, planes, rows, columns]`.

    With `clamp_variance`, which needs both variances, x^2 and y^2 are apart: `[5, …]` of x, y, x^2, y^2, x y.
    """
    squares = (x * x, y * y) if window.clamp_variance else (x * x + y * y,)
    quantities = torch.stack((x, y, *squares, x * y))
    return window_means(quantities.flatten(0, 1), window).unflatten(0, quantities.shape[:2])


def similarity(moments: Tensor, window: SsimWindow | WindowPlaces) -> tuple[Tensor, Tensor, Tensor]:
    """Luminance S1, contrast-structure S2 and mu_x - mu_y, each `[...]`, from `ssim_moments [4 or 5, ...]`."""
    mean_x, mean_y, *squares, product = moments.unbind(0)
    square_of_means = mean_x * mean_x + mean_y * mean_y
    covariance = product - mean_x * mean_y
    if window.clamp_variance:
        variance_x = (squares[0] - mean_x * mean_x).clamp_min(0)
        variance_y = (squares[1] - mean_y * mean_y).clamp_min(0)
        variances = variance_x + variance_y
        covariance = _bounded_covariance(covariance, variance_x * variance_y)
    else:
        variances = squares[0] - square_of_means
    luminance = (2 * mean_x * mean_y + window.c1) / (square_of_means + window.c1)
    structure = (2 * covariance + window.c2) / (variances + window.c2)
    return luminance, structure, mean_x - mean_y


def ssim_maps(x: Tensor, y: Tensor, window: SsimWindow | WindowPlaces) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """SSIM, S1, S2 and mu_x - mu_y of `x, y [planes, height, width]`, each `[planes, rows, columns]`."""
    luminance, structure, difference = similarity(ssim_moments(x, y, window), window)
    return luminance * structure, luminance, structure, difference


def _bounded_covariance(covariance: Tensor, variance_product: Tensor) -> Tensor:
    """|covariance| at most the root of the variances' product, with a gradient of 0, not NaN, where that root is 0."""
    is_positive = variance_product > 0
    bound = torch.where(is_positive, torch.where(is_positive, variance_product, 1).sqrt(), 0)
    return torch.where(covariance.abs() > bound, covariance.sign() * bound, covariance)


def s3im_image(colours: Tensor, orders: Tensor, patch_height: int) -> Tensor:
    """The stochastic image: `colours [rays, channels]` taken in the `orders [repeat, rays]`, one after the other, and
    read as the rows of one image `[channels, patch_height, repeat * rays / patch_height]`."""
    return colours[orders.flatten()].T.reshape(colours.shape[1], patch_height, -1)
