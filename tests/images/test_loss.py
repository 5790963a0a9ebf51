"""SSIM of a fitted picture in each of its three orders."""

from __future__ import annotations

import pytest
import torch

from nerf_ssim.images.loss import ImageSsim
from nerf_ssim.ssim.index import fused_ssim

SIZE = (16, 20)


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(3)
    pixels = SIZE[0] * SIZE[1]
    order = torch.randperm(pixels, generator=generator)
    shown_target = torch.rand(pixels, 1, generator=generator, dtype=torch.float64)
    shown_values = (shown_target.float() + 0.1 * torch.rand(pixels, 1, generator=generator)).clamp(0, 1)
    return order, shown_target[order], shown_values[order], shown_target, shown_values


def index(values, target):
    return fused_ssim(target.float().view(1, *SIZE), values.view(1, *SIZE))


def loss(domain, case, seed=0):
    order, target, values = case[:3]
    ssim = ImageSsim(domain, 11, 1.5, 1, "same")
    return ssim.evaluate(values, target, order, SIZE, torch.Generator().manual_seed(seed)).loss


def test_each_domain_compares_the_picture_it_names(case):
    _, target, values, shown_target, shown_values = case
    torch.testing.assert_close(loss("permuted", case), 1 - index(values, target))
    torch.testing.assert_close(loss("image", case), 1 - index(shown_values, shown_target))
    assert abs(loss("image", case) - loss("permuted", case)) > 1e-4


def test_reshuffled_takes_a_fresh_order_each_time(case):
    order, target, values = case[:3]
    generator = torch.Generator().manual_seed(0)
    ssim = ImageSsim("reshuffled", 11, 1.5, 1, "same")
    losses = [float(ssim.evaluate(values, target, order, SIZE, generator).loss) for _ in range(3)]
    assert len(set(losses)) == 3
    fresh = torch.randperm(len(order), generator=torch.Generator().manual_seed(0))
    assert losses[0] == pytest.approx(float(1 - index(values[fresh], target[fresh])), abs=1e-6)


@pytest.mark.parametrize("domain", ["permuted", "image", "reshuffled"])
def test_the_gradient_reaches_every_pixel_and_statistics_are_of_target_and_values(case, domain):
    order, target, values = case[:3]
    values = values.clone().requires_grad_()
    ssim = ImageSsim(domain, 11, 1.5, 1, "same")
    result = ssim.evaluate(values, target, order, SIZE, torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad(result.loss, values)
    assert (gradient != 0).all()
    assert float(result.statistics.mean_difference) < 0  # the values are brighter than the target, which is x


def test_colours_are_planes(case):
    order, target, values = case[:3]
    ssim = ImageSsim("permuted", 7, None, 2, "valid")
    three = ssim.evaluate(values.expand(-1, 3), target.expand(-1, 3), order, SIZE, torch.Generator())
    one = ssim.evaluate(values, target, order, SIZE, torch.Generator())
    torch.testing.assert_close(three.loss, one.loss)
