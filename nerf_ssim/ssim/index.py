"""The SSIM index of images, as a number or a map, with its luminance and contrast-structure parts apart."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nerf_ssim.errors import ConfigError
from nerf_ssim.ops.ssim import SsimMaps as SsimParts
from nerf_ssim.ops.ssim import SsimStatistics, ssim_maps, ssim_mean
from nerf_ssim.ops.ssim_window import SsimWindow

_UNIT_CONSTANTS = (1e-4, 9e-4)
_PLAINLY_LARGER = 8.0
_LOOKED_AT = 4096

__all__ = ["SsimParts", "SsimStatistics", "fused_ssim", "ssim_parts", "ssim_with_statistics"]


def fused_ssim(
    x: Tensor,
    y: Tensor,
    *,
    window: int = 11,
    sigma: float | None = 1.5,
    stride: int = 1,
    padding: str | int = "same",
    c1: float = 1e-4,
    c2: float = 9e-4,
    clamp_variance: bool = False,
    reduction: str = "mean",
    recompute: bool = False,
) -> Tensor:
    """Structural similarity of two images; 1 where they are equal. A loss is `1 - fused_ssim(x, y)`.

    Args:
        x, y: `[N, C, H, W]` or `[C, H, W]`, one shape, floating point in [0, 1]; any device and strides. Half precision
            is computed and returned in float32.
        window: side of the window in pixels, 1 to 11; an even one has its centre at index `window // 2`.
        sigma: of the Gaussian weights, in pixels; None for equal weights.
        stride: pixels between windows.
        padding: "same" (zeros around, the map as large as the image at stride 1), "valid" (windows inside the image
            only) or the zeros on each side; padded zeros count with their full weight.
        c1, c2: the stabilising constants; (0.01 L)^2 and (0.03 L)^2 for values in [0, L]. With those of L = 1, images
            that are plainly of another range are refused.
        clamp_variance: keep rounding from making a variance negative or a correlation exceed 1.
        reduction: "mean" for one number, "none" for the map `[N, C, rows, columns]` (without N where x has none).
        recompute: for the mean, save no map between the passes: less memory, and every window is computed twice.
    Returns:
        0-dim tensor or map, differentiable in x and y.
    Raises:
        ConfigError: shapes or kinds that disagree, an empty image, one smaller than its window, an option out of range.
    Source: Wang et al. 2004; `fused_ssim(x, y, padding="valid")` is scikit-image's with `gaussian_weights=True`,
        `use_sample_covariance=False`, away from its borders.
    Example:
        >>> image = torch.rand(3, 64, 64)
        >>> float(fused_ssim(image, image))
        1.0
    """
    geometry = SsimWindow(window, sigma, stride, padding, c1, c2, clamp_variance)
    if reduction not in ("mean", "none"):
        raise ConfigError(f"SSIM reduction: {reduction!r} is neither 'mean' nor 'none'.")
    planes_x, planes_y = _planes(x, y, geometry)
    if reduction == "mean":
        return ssim_mean(planes_x, planes_y, geometry, recompute=recompute)[0]
    return _like(ssim_maps(planes_x, planes_y, geometry).ssim, x)


def ssim_parts(
    x: Tensor,
    y: Tensor,
    *,
    window: int = 11,
    sigma: float | None = 1.5,
    stride: int = 1,
    padding: str | int = "same",
    c1: float = 1e-4,
    c2: float = 9e-4,
    clamp_variance: bool = False,
) -> SsimParts:
    """The maps of SSIM, luminance S1, contrast-structure S2 and mu_x - mu_y; arguments as in `fused_ssim`."""
    geometry = SsimWindow(window, sigma, stride, padding, c1, c2, clamp_variance)
    maps = ssim_maps(*_planes(x, y, geometry), geometry)
    return SsimParts(*(_like(each, x) for each in maps))


def ssim_with_statistics(
    x: Tensor,
    y: Tensor,
    *,
    window: int = 11,
    sigma: float | None = 1.5,
    stride: int = 1,
    padding: str | int = "same",
    c1: float = 1e-4,
    c2: float = 9e-4,
    clamp_variance: bool = False,
) -> tuple[Tensor, SsimStatistics]:
    """Mean SSIM (differentiable) and, at no extra pass, its parts' means (detached); arguments as in `fused_ssim`."""
    geometry = SsimWindow(window, sigma, stride, padding, c1, c2, clamp_variance)
    return ssim_mean(*_planes(x, y, geometry), geometry)


def _planes(x: Tensor, y: Tensor, geometry: SsimWindow) -> tuple[Tensor, Tensor]:
    """`x` and `y` as `[planes, height, width]`, checked."""
    for name, image in (("x", x), ("y", y)):
        if not isinstance(image, Tensor):
            kind = type(image).__name__
            raise ConfigError(f"SSIM: {name} is a {kind}, not a tensor; convert it with torch.as_tensor.")
        if not image.is_floating_point():
            raise ConfigError(f"SSIM: {name} holds {image.dtype}; convert it to floating point in [0, 1].")
    if x.ndim not in (3, 4) or x.shape != y.shape:
        raise ConfigError(
            f"SSIM: shapes {list(x.shape)} and {list(y.shape)}; give two of [C, H, W] or of [N, C, H, W], the same."
        )
    if x.dtype != y.dtype or x.device != y.device:
        raise ConfigError(
            f"SSIM: x is {x.dtype} on {x.device}, y is {y.dtype} on {y.device}; convert one to the other's."
        )
    if x.numel() == 0:
        raise ConfigError(f"SSIM: images of shape {list(x.shape)} are empty; there is nothing to compare.")
    geometry.map_size(x.shape[-2], x.shape[-1])
    if (geometry.c1, geometry.c2) == _UNIT_CONSTANTS:
        for name, image in (("x", x), ("y", y)):
            _refuse_another_range(name, image)
    if x.dtype in (torch.float16, torch.bfloat16):
        x, y = x.float(), y.float()
    return x.flatten(0, -3), y.flatten(0, -3)


def _refuse_another_range(name: str, image: Tensor) -> None:
    """Raises `ConfigError` for values that are plainly not in [0, 1], such as bytes taken for floats.

    A few thousand values tell: an image of 0 to 255 is not dark in all of them. Where values cannot be looked at (a
    traced or captured program, a tensor without data) nothing is said.
    """
    if image.device.type not in ("cpu", "cuda") or torch.compiler.is_compiling() or type(image) is not Tensor:
        return
    if image.is_cuda and torch.cuda.is_current_stream_capturing():
        return
    sample = image.detach().flatten()
    try:
        largest = float(sample[:: max(1, sample.numel() // _LOOKED_AT)].amax())
    except RuntimeError:  # within torch.func.vmap no value is to be had
        return
    if _PLAINLY_LARGER < largest < math.inf:  # infinity is passed on, as it is by every other operation
        raise ConfigError(
            f"SSIM: {name} has values up to {largest:.4g}, the constants are for [0, 1]; divide the images by the "
            "largest possible value L, or give c1 = (0.01 L)^2 and c2 = (0.03 L)^2."
        )


def _like(maps: Tensor, image: Tensor) -> Tensor:
    """`maps [planes, rows, columns]` with the leading dimensions of `image`."""
    return maps.unflatten(0, image.shape[:-2])
