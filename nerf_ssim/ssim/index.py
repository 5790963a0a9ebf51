"""The SSIM index of images, as a number or a map, with its luminance and contrast-structure parts apart."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from nerf_ssim.errors import ConfigError
from nerf_ssim.ops.ssim import SsimMaps as SsimParts
from nerf_ssim.ops.ssim import SsimStatistics, ssim_maps, ssim_mean
from nerf_ssim.ops.ssim_window import SsimWindow
from nerf_ssim.ssim.pairs import largest_value, promoted, refuse_another_range

_UNIT_CONSTANTS = (1e-4, 9e-4)

__all__ = ["SsimParts", "SsimStatistics", "fused_ssim", "ssim_parts", "ssim_with_statistics"]


def fused_ssim(
    img1: Tensor,
    img2: Tensor,
    padding: str | int = "same",
    train: bool = True,
    *,
    window: int = 11,
    sigma: float | None = 1.5,
    stride: int = 1,
    c1: float = 1e-4,
    c2: float = 9e-4,
    data_range: float | None = None,
    clamp_variance: bool = False,
    reduction: str = "mean",
    recompute: bool = False,
) -> Tensor:
    """Structural similarity of two images; 1 where they are equal. A loss is `1 - fused_ssim(img1, img2)`.

    Args:
        img1, img2: `[N, C, H, W]` or `[C, H, W]`, one shape, floating point in [0, 1]; any device and strides. Two
            types are promoted as PyTorch promotes them; half precision, also that of autocast, is computed and returned
            in float32.
        padding: "same" (zeros around, the map as large as the image at stride 1), "valid" (windows inside the image
            only), "reflect" (as "same", with the image mirrored at its outermost pixels in the place of zeros) or the
            zeros on each side; padded zeros count with their full weight.
        train: False computes the index without a gradient.
        window: side of the window in pixels, 1 to 11; an even one has its centre at index `window // 2`.
        sigma: of the Gaussian weights, in pixels; None for equal weights.
        stride: pixels between windows.
        c1, c2: the stabilising constants, for values in [0, 1].
        data_range: the largest value L that pixels could have, such as 255; images are then in [0, L], of any real
            type, and the constants are those times L^2. Without it images that are plainly of another range are
            refused, unless the constants are others than the usual ones. On a GPU this is looked at in the first call
            with each shape only, because looking waits for the GPU.
        clamp_variance: keep rounding from making a variance negative or a correlation exceed 1.
        reduction: "mean" for one number, "none" for the map `[N, C, rows, columns]` (without N where img1 has none).
        recompute: for the mean, save no map between the passes: less memory, and every window is computed twice.
    Returns:
        0-dim tensor or map, differentiable in both images.
    Raises:
        ConfigError: shapes or kinds that disagree, an empty image, one smaller than its window, integers without a
            `data_range`, an option out of range.
    Source: Wang et al. 2004; the first four arguments are those of the package fused-ssim. docs/values.md says which
        options give the numbers of other libraries.
    Example:
        >>> image = torch.rand(3, 64, 64)
        >>> float(fused_ssim(image, image))
        1.0
    """
    if reduction not in ("mean", "none"):
        raise ConfigError(f"SSIM reduction: {reduction!r} is neither 'mean' nor 'none'.")
    x, y, geometry = planes_and_window(
        img1, img2, padding, window=window, sigma=sigma, stride=stride, c1=c1, c2=c2, data_range=data_range,
        clamp_variance=clamp_variance,
    )  # fmt: skip
    if not train:
        x, y = x.detach(), y.detach()
    if reduction == "mean":
        return ssim_mean(x, y, geometry, recompute=recompute)[0]
    return _like(ssim_maps(x, y, geometry).ssim, img1)


def ssim_parts(
    img1: Tensor,
    img2: Tensor,
    padding: str | int = "same",
    *,
    window: int = 11,
    sigma: float | None = 1.5,
    stride: int = 1,
    c1: float = 1e-4,
    c2: float = 9e-4,
    data_range: float | None = None,
    clamp_variance: bool = False,
) -> SsimParts:
    """The maps of SSIM, luminance S1, contrast-structure S2 and mu_1 - mu_2, each `[N, C, rows, columns]`.

    Arguments, errors and source are those of `fused_ssim`; the difference of means is in the images' own unit.
    """
    x, y, geometry = planes_and_window(
        img1, img2, padding, window=window, sigma=sigma, stride=stride, c1=c1, c2=c2, data_range=data_range,
        clamp_variance=clamp_variance,
    )  # fmt: skip
    return SsimParts(*(_like(each, img1) for each in ssim_maps(x, y, geometry)))


def ssim_with_statistics(
    img1: Tensor,
    img2: Tensor,
    padding: str | int = "same",
    *,
    window: int = 11,
    sigma: float | None = 1.5,
    stride: int = 1,
    c1: float = 1e-4,
    c2: float = 9e-4,
    data_range: float | None = None,
    clamp_variance: bool = False,
) -> tuple[Tensor, SsimStatistics]:
    """Mean SSIM (0-dim, differentiable) and, at no extra pass, its parts' means (0-dim, detached).

    Arguments, errors and source are those of `fused_ssim`. `SsimSchedule.observe` takes the statistics.
    """
    x, y, geometry = planes_and_window(
        img1, img2, padding, window=window, sigma=sigma, stride=stride, c1=c1, c2=c2, data_range=data_range,
        clamp_variance=clamp_variance,
    )  # fmt: skip
    return ssim_mean(x, y, geometry)


def planes_and_window(
    img1: Tensor,
    img2: Tensor,
    padding: str | int = "same",
    *,
    window: int = 11,
    sigma: float | None = 1.5,
    stride: int = 1,
    c1: float = _UNIT_CONSTANTS[0],
    c2: float = _UNIT_CONSTANTS[1],
    data_range: float | None = None,
    clamp_variance: bool = False,
) -> tuple[Tensor, Tensor, SsimWindow]:
    """The images as `[planes, height, width]`, checked, in one type and mirrored where asked; and their window.

    Arguments and errors are those of `fused_ssim`.
    """
    largest = largest_value(data_range)
    reflects = padding == "reflect"
    geometry = SsimWindow(window, sigma, stride, "valid" if reflects else padding, c1, c2, clamp_variance)
    x, y = promoted(img1, img2, data_range, "SSIM", ("img1", "img2"))
    if x.ndim not in (3, 4) or x.shape != y.shape:
        raise ConfigError(
            f"SSIM: shapes {list(x.shape)} and {list(y.shape)}; give two of [C, H, W] or of [N, C, H, W], the same."
        )
    if x.numel() == 0:
        raise ConfigError(f"SSIM: images of shape {list(x.shape)} are empty; there is nothing to compare.")
    if (geometry.c1, geometry.c2) == _UNIT_CONSTANTS or data_range is not None:
        refuse_another_range(x, largest, "SSIM", "img1")
        refuse_another_range(y, largest, "SSIM", "img2")
    x, y = x.flatten(0, -3), y.flatten(0, -3)
    if reflects:
        x, y = _reflected(x, geometry.size), _reflected(y, geometry.size)
    geometry.map_size(x.shape[-2], x.shape[-1])
    return x, y, geometry.for_range(largest)


def _reflected(planes: Tensor, window: int) -> Tensor:
    """`planes [n, height, width]` with a border of their mirror image, so that every pixel is a window's centre."""
    before = (window - 1) // 2
    after = window - 1 - before
    height, width = planes.shape[-2:]
    if min(height, width) <= after:
        raise ConfigError(
            f"SSIM: an image of {height}x{width} cannot be mirrored by {after} pixels for a window of {window}; use a "
            "smaller window or padding 'same'."
        )
    return F.pad(planes, (before, after, before, after), mode="reflect")


def _like(maps: Tensor, image: Tensor) -> Tensor:
    """`maps [planes, rows, columns]` with the leading dimensions of `image`."""
    return maps.unflatten(0, image.shape[:-2])
