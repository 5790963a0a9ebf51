"""A pixel error and SSIM in one loss, as 3D Gaussian splatting combines them."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from nerf_ssim.errors import ConfigError
from nerf_ssim.ops.number_kinds import real_number
from nerf_ssim.ops.ssim_loss import ssim_loss
from nerf_ssim.ssim.index import fused_ssim, planes_and_window
from nerf_ssim.ssim.pairs import largest_value, promoted

__all__ = ["SPLATTING_WEIGHT", "fused_l1_ssim", "fused_mse_ssim"]

SPLATTING_WEIGHT = 0.2
"""The weight of 1 - SSIM in 3D Gaussian splatting (`lambda_dssim`, gsplat's `ssim_lambda`)."""


def fused_l1_ssim(
    img1: Tensor,
    img2: Tensor,
    weight: float = SPLATTING_WEIGHT,
    padding: str | int = "same",
    *,
    data_range: float | None = None,
) -> Tensor:
    """The loss `(1 - weight) * L1 + weight * (1 - SSIM)` of two images; 0 where they are equal.

    One pass over the images gives both parts and another the gradient; padding "reflect" takes L1 and SSIM one after
    the other. A part without weight is not computed, so that `weight=schedule.weight_at(iteration)` removes SSIM and
    its cost.

    Args:
        img1, img2: `[N, C, H, W]` or `[C, H, W]`, as `fused_ssim` takes them.
        weight: of `1 - SSIM`, in [0, 1]; the other part has the rest. 3D Gaussian splatting has 0.2. Its SSIM is that
            of padding "same"; gsplat's trainer has "valid".
        padding, data_range: as in `fused_ssim`; the L1 error is that of images divided by `data_range`.
    Returns:
        0-dim tensor, differentiable in both images.
    Raises:
        ConfigError: a weight outside [0, 1], and what `fused_ssim` refuses.
    Source: Kerbl et al. 2023, "3D Gaussian Splatting for Real-Time Radiance Field Rendering", equation 7.
    Example:
        >>> loss = fused_l1_ssim(torch.rand(3, 64, 64), torch.rand(3, 64, 64), 0.2)
    """
    return _combined(F.l1_loss, 1, img1, img2, weight, padding, data_range)


def fused_mse_ssim(
    img1: Tensor,
    img2: Tensor,
    weight: float = SPLATTING_WEIGHT,
    padding: str | int = "same",
    *,
    data_range: float | None = None,
) -> Tensor:
    """The loss `(1 - weight) * MSE + weight * (1 - SSIM)` of two images; otherwise as `fused_l1_ssim`."""
    return _combined(F.mse_loss, 2, img1, img2, weight, padding, data_range)


def _combined(
    error: Callable[[Tensor, Tensor], Tensor],
    power: int,
    img1: Tensor,
    img2: Tensor,
    weight: float,
    padding: str | int,
    data_range: float | None,
) -> Tensor:
    """The loss with a pixel error that grows as the `power` of the images' unit."""
    share = real_number(weight)
    if share is None or not 0 <= share <= 1:
        raise ConfigError(f"weight of SSIM: {weight!r} is not a number from 0 to 1.")
    if share == 1:
        return 1 - fused_ssim(img1, img2, padding, data_range=data_range)
    x, y = promoted(img1, img2, data_range, "L1 and SSIM" if power == 1 else "MSE and SSIM", ("img1", "img2"))
    if x.shape != y.shape:
        raise ConfigError(f"SSIM: shapes {list(x.shape)} and {list(y.shape)}; give two of the same.")
    if x.numel() == 0:
        raise ConfigError(f"SSIM: images of shape {list(x.shape)} are empty; there is nothing to compare.")
    by_error = (1 - share) / largest_value(data_range) ** power
    if share == 0:
        return by_error * error(x, y)
    if padding == "reflect":  # the mirrored border counts in SSIM alone
        return by_error * error(x, y) + share * (1 - fused_ssim(x, y, padding, data_range=data_range))
    x, y, window = planes_and_window(x, y, padding, data_range=data_range)
    return ssim_loss(x, y, window, power=power, by_error=by_error, by_index=share)
