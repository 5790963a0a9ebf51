"""SSIM of flat pictures: right to rounding, and never above 1, though their squares leave no digit for a variance."""

from __future__ import annotations

import pytest
import torch

from nerf_ssim.ops import ssim as ops
from nerf_ssim.ops.reference import ssim as reference
from nerf_ssim.ops.ssim_window import SsimWindow
from nerf_ssim.ssim import S3IM, fused_ssim

WINDOWS = [SsimWindow(), SsimWindow(padding="valid"), SsimWindow(4, 1.5, 4, 1), SsimWindow(7, None, 2, 3)]
ROUNDING = 3e-7


def flat(generator: torch.Generator) -> torch.Tensor:
    return torch.rand(2, 1, 1, generator=generator).expand(2, 70, 45)


def mosaic(generator: torch.Generator) -> torch.Tensor:
    """Flat squares of sixteen pixels."""
    squares = torch.rand(2, 5, 3, generator=generator)
    return squares.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, :70, :45]


@pytest.mark.parametrize("window", WINDOWS, ids=lambda w: f"{w.size} at {w.stride}, {w.padding}")
@pytest.mark.parametrize(("make", "error"), [(flat, 2e-6), (mosaic, 1e-4)])
@pytest.mark.parametrize("noise", [0.0, 1e-7, 1e-4, 1e-2])
def test_index_is_right_and_not_above_one(window, make, error, noise):
    generator = torch.Generator().manual_seed(1)
    for offset in (0.0, 0.3):
        x = make(generator)
        y = x + offset + noise * torch.randn(x.shape, generator=generator)
        exact = ops.ssim_maps(x.double(), y.double(), window)
        for maps in (ops.ssim_maps(x, y, window), ops.SsimMaps(*reference.ssim_maps(x, y, window))):
            assert float(maps.ssim.max()) <= 1 + ROUNDING and float(maps.structure.max()) <= 1 + 1e-5
            torch.testing.assert_close(maps.ssim.double(), exact.ssim, rtol=0, atol=error)
        mean, _ = ops.ssim_mean(x, y, window)
        assert float(mean) <= 1 + ROUNDING
        torch.testing.assert_close(mean.double(), exact.ssim.mean(), rtol=0, atol=error)


def test_stochastic_index_of_flat_colours_is_right_and_not_above_one():
    loss = S3IM(patch_height=16, patch_width=16)
    for value in (0.2, 0.6, 0.97):
        target = torch.full((256, 3), value)
        for rendered in (target, target + 1e-7, target + 1e-4 * torch.rand(256, 3)):
            state = loss.get_state()
            found = loss(rendered, target)
            loss.set_state(state)
            assert float(found) >= -ROUNDING
            assert float(found) == pytest.approx(float(loss(rendered.double(), target.double())), abs=1e-6)


def test_a_plane_with_a_value_that_is_not_finite_keeps_its_other_windows():
    x = torch.full((1, 1, 40, 40), 0.7)
    y = x.clone()
    y[..., 20, 3] = float("inf")
    found = fused_ssim(x, y, padding="valid", reduction="none")
    assert bool((found[..., 16:] == 1).all())
