"""PSNR and the named variants of SSIM, one image at a time.

Images are float `[height, width, 3]` and are clamped to [0, 1] before anything is measured, so that a render that
overshoots is scored as it would be shown.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nerf_ssim.config.sections import SSIM_VARIANTS
from nerf_ssim.errors import MissingDependency

WINDOW = 11
SIGMA = 1.5


def psnr(rendered: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in dB for a peak of 1: `-10 log10(mean squared error)`.

    Args:
        rendered, truth: `[height, width, 3]`, clamped to [0, 1] here; the error is summed in float64.
    Returns:
        dB; infinite for equal images, NaN where the render holds a NaN.
    Raises:
        ValueError: the two differ in shape.
    """
    rendered, truth = _clamped_pair(rendered, truth)
    error = (rendered.double() - truth.double()).square().mean().item()
    return math.inf if error == 0.0 else -10.0 * math.log10(error)


def ssim(rendered: Tensor, truth: Tensor, variant: str = "tensorf") -> float:
    """Mean structural similarity of two images, in the variant that a paper's numbers were made with.

    All three use an 11-tap Gaussian of sigma 1.5, C1 = 0.01^2, C2 = 0.03^2 and average over positions and channels.
    They differ at the border and in the variance:

    - `tensorf`: windows wholly inside the image; variances clamped to >= 0 and the covariance to at most their
      geometric mean, as TensoRF's and mip-NeRF's evaluation do.
    - `skimage`: scikit-image's `structural_similarity` with Gaussian weights and population covariance; no clamp.
    - `s3im`: windows also over the border, which is padded with zeros, as in S3IM's evaluation; a little different
      in value from the others near the edge.

    Args:
        rendered, truth: `[height, width, 3]`, clamped to [0, 1] here.
        variant: one of `SSIM_VARIANTS`.
    Raises:
        ValueError: unknown variant, different shapes, or an image under 11 pixels a side where windows must fit.
        MissingDependency: `skimage` without scikit-image.
    Source: Wang et al. 2004.
    """
    if variant not in SSIM_VARIANTS:
        raise ValueError(f"ssim variant {variant!r} is not one of {', '.join(SSIM_VARIANTS)}")
    rendered, truth = _clamped_pair(rendered, truth)
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


def _clamped_pair(rendered: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    if rendered.shape != truth.shape or rendered.ndim != 3 or rendered.shape[-1] != 3:
        raise ValueError(
            f"the render {tuple(rendered.shape)} and the truth {tuple(truth.shape)} must both be [height, width, 3]"
        )
    return rendered.detach().clamp(0.0, 1.0), truth.detach().to(rendered.device).clamp(0.0, 1.0)
