"""The calls that users of fused-ssim, pytorch-msssim and torchmetrics make, against those libraries."""

from __future__ import annotations

import inspect

import pytest
import torch

import nerf_ssim
from nerf_ssim.errors import ConfigError
from nerf_ssim.ssim import fused_ssim, msssim

msssim_package = pytest.importorskip("pytorch_msssim", reason="compares with pytorch-msssim, of the extra dev")
pytestmark = pytest.mark.usefixtures("each_backend")


def images(*shape: int, data_range: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    x = torch.rand(shape, generator=generator)
    y = (x + 0.1 * torch.randn(shape, generator=generator)).clamp(0, 1)
    return data_range * x, (data_range * y).requires_grad_()


def fused_ssim_of_the_package(img1, img2, padding="same", train=True):
    """The signature of the package fused-ssim, which is not on PyPI; its "valid" is pytorch-msssim's index."""
    raise NotImplementedError


def test_the_packages_arguments_are_our_first_ones_with_their_defaults():
    theirs = inspect.signature(fused_ssim_of_the_package).parameters.values()
    ours = list(inspect.signature(fused_ssim).parameters.values())
    for their, our in zip(theirs, ours, strict=False):
        assert (their.name, their.default, their.kind) == (our.name, our.default, our.kind)
    assert all(each.kind is inspect.Parameter.KEYWORD_ONLY for each in ours[4:])


def test_every_way_to_call_fused_ssim_is_that_call():
    x, y = images(2, 3, 33, 40)
    theirs = msssim_package.ssim(x, y, data_range=1.0)
    calls = [
        fused_ssim(x, y, "valid"),
        fused_ssim(x, y, padding="valid"),
        fused_ssim(img1=x, img2=y, padding="valid", train=True),
        fused_ssim(x, y, "valid", False),
    ]
    for value in calls:
        assert value.item() == pytest.approx(theirs.item(), abs=2e-6)
    assert [value.requires_grad for value in calls] == [True, True, True, False]
    ours = torch.autograd.grad(calls[0], y)[0]
    torch.testing.assert_close(ours, torch.autograd.grad(theirs, y)[0], rtol=0, atol=2e-7)
    assert fused_ssim(x, y).item() != pytest.approx(theirs.item(), abs=1e-4)  # zeros around


@pytest.mark.parametrize(
    ("options", "data_range"),
    [
        ({}, 255),
        ({"data_range": 1.0}, 1),
        ({"data_range": 1.0, "size_average": False}, 1),
        ({"data_range": 1.0, "win_size": 7, "win_sigma": 1.1}, 1),
        ({"data_range": 1.0, "K": (0.02, 0.2)}, 1),
        ({"data_range": 1.0, "size_average": False, "nonnegative_ssim": True}, 1),
    ],
)
def test_ssim_is_pytorch_msssims_as_a_call_and_as_a_module(options, data_range):
    x, y = images(2, 3, 40, 33, data_range=data_range)
    theirs = msssim_package.ssim(x, y, **options)
    for ours in (msssim.ssim(x, y, **options), nerf_ssim.SSIM(**options)(x, y)):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=3e-6)
        gradient = torch.autograd.grad(ours.sum(), y, retain_graph=True)[0]
        expected = torch.autograd.grad(theirs.sum(), y, retain_graph=True)[0]
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_ssim_below_zero_counts_as_zero_where_asked():
    x = torch.rand(2, 3, 30, 30, generator=torch.Generator().manual_seed(1))
    options = {"data_range": 1.0, "size_average": False}
    assert bool((msssim.ssim(x, 1 - x, **options) < -0.5).all())
    for nonnegative in (False, True):
        theirs = msssim_package.ssim(x, 1 - x, **options, nonnegative_ssim=nonnegative)
        torch.testing.assert_close(
            msssim.ssim(x, 1 - x, **options, nonnegative_ssim=nonnegative), theirs, rtol=0, atol=1e-5
        )


def test_ssim_and_ms_ssim_have_the_packages_arguments():
    for name in ("ssim", "ms_ssim"):
        theirs = inspect.signature(getattr(msssim_package, name)).parameters
        ours = inspect.signature(getattr(msssim, name)).parameters
        assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]
    for name in ("SSIM", "MS_SSIM"):
        theirs = inspect.signature(getattr(msssim_package, name)).parameters
        ours = inspect.signature(getattr(msssim, name)).parameters
        assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


@pytest.mark.parametrize(
    ("size", "options", "data_range"),
    [
        ((1, 3, 161, 170), {}, 255),
        ((2, 1, 165, 163), {"data_range": 1.0, "size_average": False, "channel": 1}, 1),
        ((1, 3, 90, 97), {"data_range": 1.0, "win_size": 5, "weights": [0.2, 0.3, 0.5]}, 1),
    ],
)
def test_ms_ssim_is_pytorch_msssims_with_its_gradient(size, options, data_range):
    x, y = images(*size, data_range=data_range)
    theirs = msssim_package.MS_SSIM(**options)(x, y)
    ours = nerf_ssim.MS_SSIM(**options)(x, y)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    gradient, expected = (torch.autograd.grad(value.sum(), y)[0] for value in (ours, theirs))
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_ms_ssim_of_opposite_images_is_zero_without_nan():
    x = torch.rand(1, 3, 170, 170, generator=torch.Generator().manual_seed(1))
    y = (1 - x).requires_grad_()
    value = nerf_ssim.ms_ssim(x, y, data_range=1.0)
    value.backward()
    assert value.item() == msssim_package.ms_ssim(x, y, data_range=1.0).item() == 0
    assert bool(y.grad.isfinite().all())


@pytest.mark.slow
def test_reflection_is_torchmetrics_index_with_its_gradient():
    functional = pytest.importorskip("torchmetrics.functional.image", reason="compares with torchmetrics")
    x, y = images(2, 3, 31, 42)
    for sigma, window in ((1.5, 11), (1.0, 9), (0.5, 5)):  # its window follows its sigma
        theirs = functional.structural_similarity_index_measure(y, x, data_range=1.0, sigma=sigma)
        ours = fused_ssim(x, y, "reflect", window=window, sigma=sigma)
        assert ours.item() == pytest.approx(theirs.item(), abs=2e-6)
        gradient, expected = (torch.autograd.grad(value, y)[0] for value in (ours, theirs))
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    assert fused_ssim(x, y, "reflect", window=4, reduction="none").shape == x.shape


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda x: fused_ssim(x[..., :5], x[..., :5], "reflect"), "mirrored"),
        (lambda x: msssim.ssim(x, x, data_range=1, win=torch.ones(3, 1, 1, 11)), "win_size"),
        (lambda x: msssim.ssim(x[0], x[0], data_range=1), "shapes"),
        (lambda x: msssim.ssim(x, x[..., 1:], data_range=1), "shapes"),
        (lambda x: msssim.ssim(255 * x, x, data_range=1), "data_range"),
        (lambda x: msssim.ssim(x, x, data_range=1, K=(0.01,)), "K"),
        (lambda x: msssim.ssim(x[..., :8, :8], x[..., :8, :8], data_range=1), "8x8"),
        (lambda x: msssim.ms_ssim(x, x, data_range=1), "over 160 pixels"),
        (lambda x: msssim.ms_ssim(x, x, data_range=1, weights=[]), "weights"),
        (lambda x: msssim.SSIM(data_range=1, channel=1)(x, x), "channel"),
        (lambda x: msssim.SSIM(spatial_dims=3), "spatial_dims"),
        (lambda x: msssim.MS_SSIM(win_size=13), "window"),
    ],
)
def test_what_is_not_taken_is_refused_in_one_line(call, names):
    with pytest.raises(ConfigError, match=names) as raised:
        call(torch.rand(1, 3, 20, 20))
    assert "\n" not in str(raised.value)
