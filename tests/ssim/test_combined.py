"""A pixel error and SSIM in one call, against the two calls that it stands for."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from nerf_ssim import fused_l1_ssim, fused_mse_ssim, fused_ssim
from nerf_ssim.errors import ConfigError

pytestmark = pytest.mark.usefixtures("each_backend")
LOSSES = [(fused_l1_ssim, F.l1_loss, 1), (fused_mse_ssim, F.mse_loss, 2)]


def images(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    x = torch.rand(shape, generator=generator)
    return x, (0.7 * x + 0.3 * torch.rand(shape, generator=generator)).requires_grad_()


@pytest.mark.parametrize(("ours", "error", "power"), LOSSES)
@pytest.mark.parametrize(("weight", "padding"), [(0.2, "same"), (0.7, "valid"), (0.0, "same"), (1.0, "reflect")])
def test_value_and_gradient_are_those_of_the_two_parts(ours, error, power, weight, padding):
    x, y = images(2, 3, 21, 30)
    expected = (1 - weight) * error(x, y) + weight * (1 - fused_ssim(x, y, padding))
    found = ours(x, y, weight, padding)
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)
    theirs, gradient = (torch.autograd.grad(value, y)[0] for value in (expected, found))
    torch.testing.assert_close(gradient, theirs, rtol=0, atol=1e-8)
    of_bytes = ours(255 * x, 255 * y, weight, padding, data_range=255)
    assert of_bytes.item() == pytest.approx(expected.item(), abs=1e-5)


def test_the_default_is_gaussian_splattings_loss():
    x, y = images(3, 20, 20)
    expected = 0.8 * (x - y).abs().mean() + 0.2 * (1 - fused_ssim(x, y, "same"))
    assert fused_l1_ssim(x, y).item() == pytest.approx(expected.item(), abs=1e-6)


def test_a_part_without_weight_is_not_computed():
    x, y = images(3, 5, 5)  # holds no window, so that SSIM could not be
    assert fused_l1_ssim(x, y, 0.0, "valid").item() == pytest.approx((x - y).abs().mean().item())
    with pytest.raises(ConfigError, match="5x5"):
        fused_l1_ssim(x, y, 0.1, "valid")


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan"), "0.2", None])
def test_a_weight_that_is_no_share_is_refused(weight):
    with pytest.raises(ConfigError, match="weight of SSIM"):
        fused_l1_ssim(*images(3, 20, 20), weight)


def test_shapes_that_would_broadcast_are_refused():
    x, y = images(3, 20, 20)
    with pytest.raises(ConfigError, match="shapes"):
        fused_l1_ssim(x, y[:1], 0.0)
