"""SSIM and S3IM on a GPU mean what the reference means in double precision on the CPU, and never wait for it."""

from __future__ import annotations

import pytest
import torch

from nerf_ssim.ops import ssim as ops
from nerf_ssim.ops.ssim_window import SsimWindow
from nerf_ssim.ssim import S3IM, fused_ssim

SIZES = [(1, 1, 1), (2, 37, 41), (3, 130, 67), (1, 65, 31)]
WINDOWS = [
    SsimWindow(),
    SsimWindow(padding="valid"),
    SsimWindow(4, 1.5, 4, 1),
    SsimWindow(7, None, 2, 6),
    SsimWindow(2, 0.7, 5, 1),
    SsimWindow(5, 1.5, 1, 3),
]
TOLERANCE = 3e-4


def images(planes, height, width):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(planes, height, width, generator=generator)
    return x, 0.5 * x + 0.5 * torch.rand(planes, height, width, generator=generator)


def gradients(value, *leaves):
    return torch.autograd.grad(value, leaves)


def assert_close(actual, exact):
    scale = max(float(exact.abs().max()), 1e-3)
    torch.testing.assert_close(actual.cpu().double() / scale, exact / scale, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("window", WINDOWS, ids=lambda w: f"{w.size} at {w.stride}")
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("recompute", [False, True])
def test_mean_and_gradients_equal_the_reference(window, size, recompute):
    extra = window.padding_before + window.padding_after - window.size
    if min(size[1:]) + extra < 0:
        return
    x, y = (image.cuda().requires_grad_() for image in images(*size))
    exact_x, exact_y = (image.double().requires_grad_() for image in images(*size))
    mean, statistics = ops.ssim_mean(x, y, window, recompute=recompute)
    exact, exact_statistics = ops.ssim_mean(exact_x, exact_y, window)
    assert_close(mean.detach(), exact.detach())
    assert_close(torch.stack(statistics), torch.stack(exact_statistics))
    for ours, each in zip(gradients(mean, x, y), gradients(exact, exact_x, exact_y), strict=True):
        assert_close(ours, each)


@pytest.mark.parametrize("window", WINDOWS, ids=lambda w: f"{w.size} at {w.stride}")
def test_maps_and_their_gradients_equal_the_reference(window):
    x, y = (image.cuda().requires_grad_() for image in images(2, 37, 41))
    exact_x, exact_y = (image.double().requires_grad_() for image in images(2, 37, 41))
    maps, exact = ops.ssim_maps(x, y, window), ops.ssim_maps(exact_x, exact_y, window)
    for ours, each in zip(maps, exact, strict=True):
        assert_close(ours.detach(), each.detach())
    for ours, each in zip(
        gradients(maps.ssim.square().sum(), x, y), gradients(exact.ssim.square().sum(), exact_x, exact_y), strict=True
    ):
        assert_close(ours, each)


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(4, 4), (3, 2), (11, 3)])
def test_s3im_equals_the_reference(kernel, stride, deterministic):
    loss = S3IM(kernel, stride, repeat=5, patch_height=32, patch_width=32)
    generator = torch.Generator().manual_seed(1)
    target = torch.rand(1024, 3, generator=generator)
    rendered = 0.3 * target + 0.6 * torch.rand(1024, 3, generator=generator)
    state = loss.get_state()
    ours_in, exact_in = rendered.cuda().requires_grad_(), rendered.double().requires_grad_()
    torch.use_deterministic_algorithms(deterministic)
    try:
        ours = loss(ours_in, target.cuda())
        (gradient,) = gradients(ours, ours_in)
        loss.set_state(state)
        (again,) = gradients(loss(ours_in, target.cuda()), ours_in)
    finally:
        torch.use_deterministic_algorithms(False)
    loss.set_state(state)
    exact = loss(exact_in, target.double())
    assert_close(ours.detach(), exact.detach())
    assert_close(gradient, gradients(exact, exact_in)[0])
    assert not deterministic or torch.equal(gradient, again)


def test_neither_pass_waits_for_the_device(nothing_waits_for_the_device):
    x, y = (image.cuda().requires_grad_() for image in images(3, 64, 64))
    rendered, target = torch.rand(4096, 3, device="cuda", requires_grad=True), torch.rand(4096, 3, device="cuda")
    orders = S3IM().draw_orders().cuda()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    (1 - fused_ssim(x, y)).backward()
    ops.s3im(rendered, target, orders, 64, SsimWindow(4, 1.5, 4, 1))[0].backward()


def test_kernels_run_on_the_current_stream():
    x, y = (image.cuda() for image in images(3, 512, 512))
    expected = fused_ssim(x, y)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        late = x.clone()
        actual = fused_ssim(late, y)
    assert not stream.query(), "the kernels did not wait for their stream"
    stream.synchronize()
    assert float(actual) == float(expected)
