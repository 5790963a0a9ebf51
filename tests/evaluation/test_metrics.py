from __future__ import annotations

import builtins
import math

import numpy as np
import pytest
import torch

from nerf_ssim.errors import MissingDependency
from nerf_ssim.evaluation.metrics import SSIM_VARIANTS, psnr, ssim


def picture(seed: int, height: int = 24, width: int = 31) -> torch.Tensor:
    return torch.rand(height, width, 3, generator=torch.Generator().manual_seed(seed))


def ssim_window_by_window(x: np.ndarray, y: np.ndarray, *, is_padded: bool) -> float:
    """The definition, one window at a time in float64: nothing separable, nothing shared with the implementation."""
    taps = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    weights = np.outer(taps, taps) / taps.sum() ** 2
    if is_padded:
        x, y = (np.pad(image, ((5, 5), (5, 5), (0, 0))) for image in (x, y))
    values = []
    for row in range(x.shape[0] - 10):
        for column in range(x.shape[1] - 10):
            for channel in range(3):
                a = x[row : row + 11, column : column + 11, channel]
                b = y[row : row + 11, column : column + 11, channel]
                mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
                var_a = max(0.0, (weights * a * a).sum() - mean_a**2)
                var_b = max(0.0, (weights * b * b).sum() - mean_b**2)
                cov = (weights * a * b).sum() - mean_a * mean_b
                cov = math.copysign(min(abs(cov), math.sqrt(var_a * var_b)), cov)
                luminance = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
                values.append(luminance * (2 * cov + 9e-4) / (var_a + var_b + 9e-4))
    return float(np.mean(values))


def test_psnr_of_a_constant_error_is_its_logarithm():
    truth = torch.full((4, 5, 3), 0.5)
    assert psnr(truth + 0.1, truth) == pytest.approx(20.0, abs=1e-5)


def test_psnr_clamps_the_render_before_it_is_compared():
    truth = torch.ones(4, 4, 3)
    assert psnr(torch.full_like(truth, 7.0), truth) == math.inf
    assert psnr(torch.full_like(truth, -3.0), truth) == pytest.approx(0.0)


def test_psnr_of_nan_is_nan():
    truth = torch.zeros(3, 3, 3)
    assert math.isnan(psnr(truth / 0.0, truth))


@pytest.mark.parametrize("variant", ["tensorf", "s3im"])
def test_ssim_equals_the_definition_window_by_window(variant):
    truth = picture(0)
    rendered = (0.7 * truth + 0.3 * picture(1)).clamp(0, 1)
    expected = ssim_window_by_window(truth.double().numpy(), rendered.double().numpy(), is_padded=variant == "s3im")
    assert ssim(rendered, truth, variant) == pytest.approx(expected, abs=2e-6)


def test_tensorf_and_scikit_image_agree_where_no_clamp_acts():
    pytest.importorskip("skimage")
    truth, rendered = picture(2), picture(3)
    assert ssim(rendered, truth, "tensorf") == pytest.approx(ssim(rendered, truth, "skimage"), abs=2e-6)


def test_the_padded_variant_differs_from_the_valid_one():
    truth, rendered = picture(2), picture(3)
    assert abs(ssim(rendered, truth, "s3im") - ssim(rendered, truth, "tensorf")) > 1e-3


@pytest.mark.parametrize("variant", SSIM_VARIANTS)
def test_an_image_is_wholly_similar_to_itself(variant):
    if variant == "skimage":
        pytest.importorskip("skimage")
    truth = picture(4)
    assert ssim(truth, truth, variant) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("variant", SSIM_VARIANTS)
def test_ssim_clamps_the_render_before_it_is_compared(variant):
    if variant == "skimage":
        pytest.importorskip("skimage")
    truth = torch.ones(12, 12, 3)
    assert ssim(truth * 3.0, truth, variant) == pytest.approx(1.0, abs=1e-6)


def test_a_missing_scikit_image_is_named_with_its_remedy(monkeypatch):
    real_import = builtins.__import__

    def without_skimage(name, *rest, **named):
        if name.startswith("skimage"):
            raise ImportError(name)
        return real_import(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without_skimage)
    with pytest.raises(MissingDependency, match="pip install scikit-image"):
        ssim(picture(0), picture(1), "skimage")


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="not one of"):
        ssim(picture(0), picture(1), "matlab")
    with pytest.raises(ValueError, match="smaller than the 11-pixel"):
        ssim(picture(0, 10, 30), picture(1, 10, 30))
    with pytest.raises(ValueError, match="must both be"):
        psnr(picture(0), picture(0, 5, 5))


def test_bytes_are_scored_in_their_declared_range_or_refused():
    truth = torch.rand(24, 24, 3, generator=torch.Generator().manual_seed(1)).mul(255).round()
    rendered = (truth + 8).clamp(0, 255)
    for variant in ("tensorf", "s3im"):
        wanted = ssim(rendered / 255, truth / 255, variant)
        assert ssim(rendered.byte(), truth.byte(), variant, data_range=255) == pytest.approx(wanted, rel=1e-5)
    wanted = psnr(rendered / 255, truth / 255)
    assert psnr(rendered.byte(), truth.byte(), data_range=255) == pytest.approx(wanted, rel=1e-6)
    assert psnr(rendered, truth, data_range=255) == pytest.approx(wanted, rel=1e-6)
    for pair in ((rendered, truth), (rendered.byte(), truth.byte()), (rendered / 255, truth)):
        for score in (psnr, ssim):
            with pytest.raises(ValueError, match="data_range"):
                score(*pair)


def test_a_render_may_overshoot_and_a_truth_may_not():
    truth = torch.full((12, 12, 3), 0.5)
    assert psnr(truth + 1.5, truth) == psnr(torch.ones_like(truth), truth)
    with pytest.raises(ValueError, match="the truth has values"):
        psnr(truth, truth + 1.5)
