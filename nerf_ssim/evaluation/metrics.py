"""PSNR, the named variants of SSIM, and the error of depth, one image at a time.

Images are `[height, width, 3]`, floats in [0, 1], or of a range that is given as `data_range`. They are clamped to it
before anything is measured, so that a render that overshoots a little is scored as it would be shown; an image that is
plainly of another range is refused.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nerf_ssim.config.sections import SSIM_VARIANTS
from nerf_ssim.errors import MissingDependency
from nerf_ssim.ops.number_kinds import real_number

WINDOW = 11
SIGMA = 1.5
OVERSHOOT = 8.0
"""What a render may exceed [0, 1] by: a field may, bytes taken for floats are far beyond."""
ROUNDING = 1e-3
"""What a truth may: an interpolated photograph."""


def psnr(rendered: Tensor, truth: Tensor, *, data_range: float | None = None) -> float:
    """Peak signal-to-noise ratio in dB: `-10 log10(mean squared error)` of images brought to a peak of 1.

    Args:
        rendered, truth: as `unit_pair`; the error is summed in float64.
        data_range: as `unit_pair`.
    Returns:
        dB; infinite for equal images, NaN where the render holds a NaN.
    Raises:
        ValueError: as `unit_pair`.
    Source: the definition; all channels of a picture share one mean squared error, as in TensoRF and DVGO.
    """
    rendered, truth = unit_pair(rendered, truth, data_range)
    error = (rendered.double() - truth.double()).square().mean().item()
    return math.inf if error == 0.0 else -10.0 * math.log10(error)


def ssim(rendered: Tensor, truth: Tensor, variant: str = "tensorf", *, data_range: float | None = None) -> float:
    """Mean structural similarity of two images, in the variant that a paper's numbers were made with.

    All three use an 11-tap Gaussian of sigma 1.5, C1 = 0.01^2, C2 = 0.03^2 and average over positions and channels.
    They differ at the border and in the variance:

    - `tensorf`: windows wholly inside the image; variances clamped to >= 0 and the covariance to at most their
      geometric mean, as TensoRF's and mip-NeRF's evaluation do.
    - `skimage`: scikit-image's `structural_similarity` with Gaussian weights and population covariance; no clamp.
    - `s3im`: windows also over the border, which is padded with zeros, as the SSIM class in S3IM's code does; a little
      different in value from the others near the edge. S3IM's published scores were made with the `tensorf` variant.

    Args:
        rendered, truth: as `unit_pair`.
        variant: one of `SSIM_VARIANTS`.
        data_range: as `unit_pair`.
    Raises:
        ValueError: as `unit_pair`, an unknown variant, or an image under 11 pixels a side where windows must fit.
        MissingDependency: `skimage` without scikit-image.
    Source: Wang et al. 2004.
    """
    if variant not in SSIM_VARIANTS:
        raise ValueError(f"ssim variant {variant!r} is not one of {', '.join(SSIM_VARIANTS)}")
    rendered, truth = unit_pair(rendered, truth, data_range)
    if variant != "s3im" and min(rendered.shape[:2]) < WINDOW:
        raise ValueError(
            f"an image of {rendered.shape[1]}x{rendered.shape[0]} pixels is smaller than the {WINDOW}-pixel SSIM window"
        )
    if variant == "skimage":
        return _skimage_ssim(rendered, truth)

    from nerf_ssim.ssim.index import fused_ssim

    with torch.no_grad():
        return fused_ssim(
            truth.float().permute(2, 0, 1).contiguous(),
            rendered.float().permute(2, 0, 1).contiguous(),
            window=WINDOW,
            sigma=SIGMA,
            padding="valid" if variant == "tensorf" else "same",
            clamp_variance=variant == "tensorf",
        ).item()


def depth_error(depth: Tensor, truth: Tensor) -> float:
    """Mean absolute error of depth over the pixels whose truth is known (above 0), in the unit of both.

    Args:
        depth, truth: `[height, width]`, along the optical axis; compared as they are, without any alignment.
    """
    known = truth > 0
    return float((depth[known].double() - truth[known].double()).abs().mean())


def depth_within(depth: Tensor, truth: Tensor, tolerance: float = 0.05) -> float:
    """Share of the pixels with known truth whose depth is off by at most `tolerance` times the truth.

    Args: as `depth_error`.
    """
    known = truth > 0
    depth, truth = depth[known].double(), truth[known].double()
    share = ((depth - truth).abs() <= tolerance * truth).double().mean()
    return float(share) if bool(depth.isfinite().all()) else math.nan


def _skimage_ssim(rendered: Tensor, truth: Tensor) -> float:
    try:
        from skimage.metrics import structural_similarity
    except ImportError as error:
        raise MissingDependency(
            "the ssim variant 'skimage' needs scikit-image: pip install scikit-image, or choose --ssim_variant tensorf"
        ) from error
    return float(
        structural_similarity(
            truth.double().cpu().numpy(),
            rendered.double().cpu().numpy(),
            data_range=1.0,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=SIGMA,
            use_sample_covariance=False,
        )
    )


def unit_pair(rendered: Tensor, truth: Tensor, data_range: float | None = None) -> tuple[Tensor, Tensor]:
    """A render and its truth as floats in [0, 1], detached, on the render's device.

    Args:
        rendered, truth: `[height, width, 3]`, floats in [0, 1], where a render may overshoot; with `data_range` of any
            kind.
        data_range: the largest value that both could have, such as 255.
    Raises:
        ValueError: something else than two tensors of one shape, no pixels, complex numbers, integers without a range,
            or values that are plainly of another range: a truth above 1, a render above `OVERSHOOT`, either below
            `-OVERSHOOT`.
    """
    for what, image in (("render", rendered), ("truth", truth)):
        if not isinstance(image, Tensor):
            kind = type(image).__name__
            raise ValueError(f"the {what} is a {kind}, not a tensor; convert it with torch.as_tensor")
    if rendered.shape != truth.shape or rendered.ndim != 3 or rendered.shape[-1] != 3:
        raise ValueError(
            f"the render {tuple(rendered.shape)} and the truth {tuple(truth.shape)} must both be [height, width, 3]"
        )
    if rendered.numel() == 0:
        raise ValueError(f"images of {tuple(rendered.shape)} have no pixels; there is nothing to compare")
    if data_range is not None:
        largest = real_number(data_range)
        if largest is None or largest <= 0:
            raise ValueError(f"data_range must be a positive number, not {data_range!r}")
        data_range = largest
    rendered = _of_unit_range(rendered.detach(), "render", data_range, OVERSHOOT)
    return rendered, _of_unit_range(truth.detach().to(rendered.device), "truth", data_range, 1 + ROUNDING)


def _of_unit_range(image: Tensor, what: str, data_range: float | None, at_most: float) -> Tensor:
    if image.is_complex() or image.dtype == torch.bool:
        raise ValueError(f"the {what} holds {image.dtype}; give floats in [0, 1]")
    if data_range is None and not image.is_floating_point():
        raise ValueError(f"the {what} holds {image.dtype}; give data_range (255 for bytes), or floats in [0, 1]")
    scaled = image if data_range is None else image.double() / data_range
    if scaled.numel():
        low, high = (float(value) for value in scaled.aminmax())
        if high > at_most or low < -OVERSHOOT:  # neither holds of NaN, which makes its own score
            unit = "[0, 1]" if data_range is None else f"[0, {data_range:g}]"
            factor = 1.0 if data_range is None else data_range
            raise ValueError(
                f"the {what} has values from {low * factor:.4g} to {high * factor:.4g}, expected {unit}; divide it by "
                "its largest possible value, or give data_range"
            )
    return scaled.clamp(0.0, 1.0)
