"""Losses made of a part of SSIM, and the two parts of a gradient, against the paper's equation 6 window by window."""

from __future__ import annotations

import explicit_ssim
import numpy as np
import pytest
import torch

from nerf_ssim.errors import ConfigError
from nerf_ssim.ops import ssim as ops
from nerf_ssim.ops.ssim_window import SsimMix, SsimWindow
from nerf_ssim.ssim import S3IM, gradient_parts, mix_of_part

MIXES = {
    "both": mix_of_part(),
    "luminance": mix_of_part("luminance"),
    "structure": mix_of_part("structure"),
    "sum": mix_of_part("sum", 0.7, 1.6),
}
every_mix = pytest.mark.parametrize("mix", MIXES.values(), ids=list(MIXES))
SIZE, STRIDE, PADDING = 4, 3, 1


def pictures(height: int = 14, width: int = 11) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, height, width, generator=generator, dtype=torch.float64)
    return x, 0.5 * x + 0.4 * torch.rand(x.shape, generator=generator, dtype=torch.float64)


def explicit_parts(x: np.ndarray, y: np.ndarray, mix: SsimMix, size=SIZE, stride=STRIDE, padding=PADDING):
    """Loss, and its gradient in y through luminance and through contrast-structure, one window after the other."""
    table = explicit_ssim.weights(size, 1.5)
    index, through_luminance, through_structure = [], np.zeros_like(y), np.zeros_like(y)
    for _, _, top, left in explicit_ssim.windows(*x.shape, size, stride, padding, padding):
        s1, s2, _, _, collective, individual = explicit_ssim.one_window(x, y, table, top, left)
        index.append(mix.product * s1 * s2 + mix.luminance * s1 + mix.structure * s2)
        through_luminance -= collective / s2 * (mix.product * s2 + mix.luminance)
        through_structure -= individual / s1 * (mix.product * s1 + mix.structure)
    return sum(mix) - np.mean(index), through_luminance / len(index), through_structure / len(index)


@every_mix
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("recompute", [False, True])
def test_loss_of_a_part_has_the_value_and_the_gradient_of_equation_6(mix, dtype, recompute):
    x, y = pictures()
    loss, *parts = explicit_parts(x[0].numpy(), y[0].numpy(), mix)
    x, y = x.to(dtype), y.to(dtype).requires_grad_()
    window = SsimWindow(SIZE, 1.5, STRIDE, PADDING, mix=mix)
    mean, _ = ops.ssim_mean(x, y, window, recompute=recompute)
    (gradient,) = torch.autograd.grad(sum(mix) - mean, y)
    rounding = 1e-12 if dtype == torch.float64 else 2e-4 * np.abs(sum(parts)).max()
    assert float(sum(mix) - mean.detach()) == pytest.approx(loss, abs=1e-12 if dtype == torch.float64 else 1e-6)
    np.testing.assert_allclose(gradient[0].numpy(), sum(parts), atol=rounding)


@every_mix
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_two_parts_of_a_gradient_are_those_of_equation_6(mix, dtype):
    x, y = pictures()
    _, *expected = explicit_parts(x[0].numpy(), y[0].numpy(), mix)
    leaf = y.to(dtype).requires_grad_()
    terms = gradient_parts(x.to(dtype), leaf, SsimWindow(SIZE, 1.5, STRIDE, PADDING, mix=mix))
    for term, part in zip(terms, expected, strict=True):
        (found,) = torch.autograd.grad(term, leaf, retain_graph=True)
        rounding = 1e-12 if dtype == torch.float64 else 2e-4 * max(np.abs(part).max(), 1e-3)
        np.testing.assert_allclose(found[0].numpy(), part, atol=rounding)


def test_structure_part_sums_to_zero_over_a_window_and_luminance_part_is_alike_in_it():
    x, y = pictures(11, 11)
    leaf = y.requires_grad_()
    window = SsimWindow(11, None, padding="valid")
    luminance, structure = (torch.autograd.grad(t, leaf, retain_graph=True)[0] for t in gradient_parts(x, leaf, window))
    assert float(structure.sum().abs()) < 1e-14 < float(structure.abs().max())
    torch.testing.assert_close(luminance, luminance[:, :1, :1].expand_as(luminance))


@every_mix
def test_native_s3im_of_a_part_is_the_explicit_one(mix):
    rays, height, repeat = 48, 6, 3
    generator = torch.Generator().manual_seed(1)
    target = torch.rand(rays, 3, generator=generator)
    rendered = (0.4 * target + 0.5 * torch.rand(rays, 3, generator=generator)).requires_grad_()
    loss = S3IM(4, 4, repeat, height, rays // height, seed=3, mix=mix)
    orders = loss.draw_orders(torch.Generator().manual_seed(3)).flatten().numpy()
    value, gradients = 0.0, [np.zeros((rays, 3)), np.zeros((rays, 3))]
    for channel in range(3):
        planes = (colours.detach().double().numpy()[orders, channel] for colours in (target, rendered))
        x, y = (plane.reshape(height, -1) for plane in planes)
        of_channel, *parts = explicit_parts(x, y, mix, 4, 4, 1)
        value += of_channel / 3
        for gradient, part in zip(gradients, parts, strict=True):
            np.add.at(gradient[:, channel], orders, part.flatten() / 3)
    result = loss.evaluate(rendered, target, measures_parts=True)
    assert float(result.loss.detach()) == pytest.approx(value, abs=1e-6)
    (whole,) = torch.autograd.grad(result.loss, rendered)
    scale = np.abs(sum(gradients)).max()
    np.testing.assert_allclose(whole.numpy(), sum(gradients), atol=2e-4 * scale)
    for term, part in zip(result.parts, gradients, strict=True):
        (found,) = torch.autograd.grad(term, rendered, retain_graph=True)
        np.testing.assert_allclose(found.numpy(), part, atol=2e-4 * scale)


def test_both_is_ssim_itself_to_the_bit():
    generator = torch.Generator().manual_seed(1)
    target = torch.rand(64, 3, generator=generator)
    results = []
    for options in ({}, {"mix": mix_of_part("both", 5.0, 6.0)}):
        rendered = (0.4 * target + 0.5 * target.flip(0)).requires_grad_()
        loss = S3IM(patch_height=8, patch_width=8, **options)(rendered, target)
        results.append((loss.detach(), torch.autograd.grad(loss, rendered)[0]))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_unknown_part_and_negative_weight_are_refused():
    with pytest.raises(ConfigError, match="contrast"):
        mix_of_part("contrast")
    with pytest.raises(ConfigError, match="luminance"):
        S3IM(mix=mix_of_part("sum", -1.0, 1.0))
