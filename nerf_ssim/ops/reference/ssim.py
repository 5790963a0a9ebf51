"""SSIM in plain PyTorch: the specification that native code is compared with.

Under a window with weights w: mu = sum w v, var = sum w v^2 - mu^2, cov likewise; then
S1 = (2 mu_x mu_y + C1) / (mu_x^2 + mu_y^2 + C1), S2 = (2 cov + C2) / (var_x + var_y + C2) and SSIM = S1 S2.
Variances are taken of the values less a shift near them, which changes nothing but the rounding: of a flat picture they
would be differences of large squares. The covariance is (var_x + var_y - var(x - y)) / 2, so that S2 exceeds 1 by no
more than the rounding of var(x - y).
Source: Wang et al. 2004, equations 6, 9 and 13 with the usual C3 = C2 / 2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nerf_ssim.ops.ssim_window import SsimWindow, WindowPlaces


def window_means(padded: Tensor, window: SsimWindow | WindowPlaces) -> Tensor:
    """Weighted mean of `padded [n, height, width]` under every window inside it: `[n, rows, columns]`.

    They are computed in the type of `padded` under autocast too: the digits of half precision are too few for a
    variance.
    """
    kind = padded.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        with torch.autocast(kind, enabled=False):
            return window_means(padded, window)
    n = len(padded)
    taps = torch.tensor(window.taps, dtype=padded.dtype, device=padded.device).expand(n, 1, 1, -1)
    as_channels = padded[None]  # one plane each would be a far slower product
    by_rows = F.conv2d(as_channels, taps.mT, stride=(window.stride, 1), groups=n)
    return F.conv2d(by_rows, taps, stride=(1, window.stride), groups=n)[0]


def ssim_moments(x: Tensor, y: Tensor, window: SsimWindow | WindowPlaces) -> Tensor:
    """Moments of `x, y [planes, height, width]`, zeros around, under every window: `[4, planes, rows, columns]`.

    They are mu_x, mu_y, var_x + var_y and the covariance. With `clamp_variance`, which needs both variances, they are
    five: mu_x, mu_y, var_x, var_y and the covariance.
    """
    before, after = window.padding_before, window.padding_after
    shift_x, shift_y = _shifts(x, y)
    u, v = (F.pad(each, (before, after, before, after)) - shift for each, shift in ((x, shift_x), (y, shift_y)))
    squares = (u * u, v * v) if window.clamp_variance else (u * u + v * v,)
    quantities = torch.stack((u, v, *squares, (u - v).square()))
    means = window_means(quantities.flatten(0, 1), window).unflatten(0, quantities.shape[:2])
    mean_u, mean_v, *squares, difference = means.unbind(0)
    if window.clamp_variance:
        variances = [squares[0] - mean_u * mean_u, squares[1] - mean_v * mean_v]
    else:
        variances = [squares[0] - (mean_u * mean_u + mean_v * mean_v)]
    covariance = (sum(variances) - (difference - (mean_u - mean_v).square())) / 2
    return torch.stack((mean_u + shift_x, mean_v + shift_y, *variances, covariance))


def similarity(moments: Tensor, window: SsimWindow | WindowPlaces) -> tuple[Tensor, Tensor, Tensor]:
    """Luminance S1, contrast-structure S2 and mu_x - mu_y, each `[...]`, from `ssim_moments [4 or 5, ...]`."""
    mean_x, mean_y, *each_variance, covariance = moments.unbind(0)
    square_of_means = mean_x * mean_x + mean_y * mean_y
    if window.clamp_variance:
        variance_x, variance_y = (variance.clamp_min(0) for variance in each_variance)
        variances = variance_x + variance_y
        covariance = _bounded_covariance(covariance, variance_x * variance_y)
    else:
        variances = each_variance[0]
    luminance = (2 * mean_x * mean_y + window.c1) / (square_of_means + window.c1)
    structure = (2 * covariance + window.c2) / (variances + window.c2)
    return luminance, structure, mean_x - mean_y


def ssim_maps(x: Tensor, y: Tensor, window: SsimWindow | WindowPlaces) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """SSIM, S1, S2 and mu_x - mu_y of `x, y [planes, height, width]`, each `[planes, rows, columns]`."""
    luminance, structure, difference = similarity(ssim_moments(x, y, window), window)
    return luminance * structure, luminance, structure, difference


def _shifts(x: Tensor, y: Tensor) -> Tensor:
    """The mean of each plane of both images, `[2, planes, 1, 1]`, 0 where it is not finite in one of them."""
    means = torch.stack((x.detach(), y.detach())).mean(dim=(2, 3), keepdim=True)
    return torch.where(means.isfinite().all(0), means, 0)


def _bounded_covariance(covariance: Tensor, variance_product: Tensor) -> Tensor:
    """|covariance| at most the root of the variances' product, with a gradient of 0, not NaN, where that root is 0."""
    is_positive = variance_product > 0
    bound = torch.where(is_positive, torch.where(is_positive, variance_product, 1).sqrt(), 0)
    return torch.where(covariance.abs() > bound, covariance.sign() * bound, covariance)


def s3im_image(colours: Tensor, orders: Tensor, patch_height: int) -> Tensor:
    """The stochastic image: `colours [rays, channels]` taken in the `orders [repeat, rays]`, one after the other, and
    read as the rows of one image `[channels, patch_height, repeat * rays / patch_height]`."""
    return colours[orders.flatten()].T.reshape(colours.shape[1], patch_height, -1)
