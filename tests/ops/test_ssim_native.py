"""The native index and S3IM mean the same as the reference in double precision."""

from __future__ import annotations

import warnings

import pytest
import torch

from nerf_ssim.ops import backend
from nerf_ssim.ops import ssim as ops
from nerf_ssim.ops.ssim_window import SsimWindow
from nerf_ssim.ssim import S3IM, fused_ssim

pytestmark = pytest.mark.skipif(
    any(backend.implementation(op) != "native" for op in ("ssim_mean", "ssim_moments", "s3im")),
    reason=f"needs the native extension: {backend.describe().get('ssim_mean', ('', ''))[1]}",
)

SIZES = [(1, 1, 1), (1, 3, 2), (3, 5, 70), (2, 64, 12), (1, 65, 31), (2, 130, 67), (3, 33, 131)]
# size, sigma, stride, padding
GEOMETRIES = [
    (11, 1.5, 1, "same"),
    (11, 1.5, 1, "valid"),
    (4, 1.5, 4, 1),
    (4, None, 1, "same"),
    (7, None, 2, 6),
    (1, 1.5, 1, "same"),
    (1, None, 3, "valid"),
    (2, 0.7, 5, 1),
    (3, 1.0, 2, "same"),
    (5, 1.5, 1, 3),
    (6, 2.0, 1, 5),
    (8, 1.5, 8, "valid"),
    (9, None, 4, 0),
    (10, 1.5, 3, "same"),
]
THREADS = [1, 2]


@pytest.fixture(params=THREADS, autouse=True)
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def images(planes, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(planes, height, width, generator=generator)
    return x, 0.5 * x + 0.5 * torch.rand(planes, height, width, generator=generator)


def holds_a_window(window, height, width):
    extra = window.padding_before + window.padding_after - window.size
    return min(height, width) + extra >= 0


def rounding(window):
    """Error allowed in a gradient, relative to its largest element.

    Second moments minus squared means lose digits that C2 does not cover; under a window of one pixel all is lost.
    """
    return 3e-2 if window.size == 1 else 3e-4


def gradients(value, *tensors):
    return torch.autograd.grad(value, tensors)


@pytest.mark.slow
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_mean_statistics_and_gradients_equal_the_reference(geometry):
    window = SsimWindow(*geometry)
    tried = 0
    for size in SIZES:
        if not holds_a_window(window, *size[1:]):
            continue
        tried += 1
        x, y = (image.requires_grad_() for image in images(*size))
        mean, statistics = ops.ssim_mean(x, y, window)
        exact_x, exact_y = (image.detach().double().requires_grad_() for image in (x, y))
        exact, exact_statistics = ops.ssim_mean(exact_x, exact_y, window)
        torch.testing.assert_close(mean.double(), exact, rtol=0, atol=1e-5)
        torch.testing.assert_close(torch.stack(statistics).double(), torch.stack(exact_statistics), rtol=0, atol=1e-5)
        expected = gradients(exact, exact_x, exact_y)
        scale = max(float(each.abs().max()) for each in expected) + 1e-12
        for ours, each in zip(gradients(mean, x, y), expected, strict=True):
            torch.testing.assert_close(ours.double() / scale, each / scale, rtol=0, atol=rounding(window))
        # One gradient alone goes another way through the kernel.
        for index, wanted in enumerate((x, y)):
            pair = [x.detach(), y.detach()]
            pair[index] = wanted
            alone = gradients(ops.ssim_mean(*pair, window)[0], wanted)[0]
            torch.testing.assert_close(alone.double() / scale, expected[index] / scale, rtol=0, atol=rounding(window))
    assert tried >= 3


@pytest.mark.parametrize("geometry", GEOMETRIES[:5])
@pytest.mark.parametrize("wanted", ["x", "y", "xy"])
def test_gradient_of_windows_computed_again_is_that_of_saved_ones(geometry, wanted):
    window = SsimWindow(*geometry)
    x, y = images(2, 37, 29)
    leaves = [image.requires_grad_() for name, image in (("x", x), ("y", y)) if name in wanted]
    saved, again = (ops.ssim_mean(x, y, window, recompute=recompute) for recompute in (False, True))
    torch.testing.assert_close(torch.stack(again[1]), torch.stack(saved[1]), rtol=0, atol=1e-6)
    for ours, each in zip(gradients(2 * again[0], *leaves), gradients(2 * saved[0], *leaves), strict=True):
        torch.testing.assert_close(ours, each, rtol=rounding(window), atol=rounding(window) * float(each.abs().max()))


@pytest.mark.slow
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_maps_and_their_gradients_equal_the_reference(geometry):
    window = SsimWindow(*geometry)
    generator = torch.Generator().manual_seed(9)
    for size in SIZES:
        if not holds_a_window(window, *size[1:]):
            continue
        x, y = (image.requires_grad_() for image in images(*size, seed=1))
        exact_x, exact_y = (image.detach().double().requires_grad_() for image in (x, y))
        maps, exact = ops.ssim_maps(x, y, window), ops.ssim_maps(exact_x, exact_y, window)
        upstream = [torch.rand(each.shape, generator=generator, dtype=torch.float64) for each in exact]
        for ours, each in zip(maps, exact, strict=True):
            torch.testing.assert_close(ours.double(), each, rtol=0, atol=3e-4)
        total = sum((ours * weight.float()).sum() for ours, weight in zip(maps, upstream, strict=True))
        exact_total = sum((each * weight).sum() for each, weight in zip(exact, upstream, strict=True))
        expected = gradients(exact_total, exact_x, exact_y)
        scale = max(float(each.abs().max()) for each in expected) + 1e-12
        for ours, each in zip(gradients(total, x, y), expected, strict=True):
            torch.testing.assert_close(ours.double() / scale, each / scale, rtol=0, atol=rounding(window))


@pytest.mark.parametrize(
    ("height", "width", "repeat", "channels", "kernel", "stride"),
    [(64, 64, 10, 3, 4, 4), (8, 6, 3, 3, 4, 4), (5, 7, 2, 3, 3, 2), (6, 5, 1, 1, 4, 1), (12, 3, 4, 2, 11, 3),
     (3, 3, 2, 3, 1, 1), (13, 11, 2, 3, 2, 5), (1, 9, 3, 3, 3, 3)],
)  # fmt: skip
def test_s3im_equals_the_reference(height, width, repeat, channels, kernel, stride):
    window = SsimWindow(kernel, 1.5, stride, (kernel - 1) // 2)
    generator = torch.Generator().manual_seed(2)
    rays = height * width
    target = torch.rand(rays, channels, generator=generator)
    rendered = (0.3 * target + 0.6 * torch.rand(rays, channels, generator=generator)).requires_grad_()
    orders = torch.stack([torch.randperm(rays, generator=generator) for _ in range(repeat)])
    loss, statistics = ops.s3im(rendered, target, orders, height, window)
    exact_rendered = rendered.detach().double().requires_grad_()
    exact, exact_statistics = ops.s3im(exact_rendered, target.double(), orders, height, window)
    torch.testing.assert_close(loss.double(), exact, rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.stack(statistics).double(), torch.stack(exact_statistics), rtol=0, atol=1e-5)
    (ours,), (expected,) = gradients(3 * loss, rendered), gradients(3 * exact, exact_rendered)
    scale = float(expected.abs().max())
    torch.testing.assert_close(ours.double() / scale, expected / scale, rtol=0, atol=rounding(window))


def test_s3im_with_a_ray_drawn_often_and_others_never():
    window = SsimWindow(4, 1.5, 4, 1)
    generator = torch.Generator().manual_seed(0)
    target, rendered = (torch.rand(64, 3, generator=generator) for _ in range(2))
    rendered.requires_grad_()
    orders = torch.zeros(3, 64, dtype=torch.int64)
    orders[1] = 5
    ours = gradients(ops.s3im(rendered, target, orders, 8, window)[0], rendered)[0]
    exact_rendered = rendered.detach().double().requires_grad_()
    expected = gradients(ops.s3im(exact_rendered, target.double(), orders, 8, window)[0], exact_rendered)[0]
    torch.testing.assert_close(ours.double(), expected, rtol=1e-3, atol=1e-6)
    assert float(ours[6:].abs().max()) == 0


def test_s3im_refuses_an_order_that_names_no_ray():
    for bad in (-1, 64):
        orders = torch.full((1, 64), bad)
        with pytest.raises(RuntimeError, match="orders"):
            ops.s3im(torch.rand(64, 3), torch.rand(64, 3), orders, 8, SsimWindow(4, 1.5, 4, 1))


def test_non_contiguous_input_gives_the_same_result():
    x, y = images(20, 31, 3)
    x, y = x.permute(2, 0, 1), y.permute(2, 0, 1)
    assert not x.is_contiguous()
    strided, dense = y.detach().requires_grad_(), y.detach().contiguous().requires_grad_()
    for mean in (lambda x, y: fused_ssim(x, y), lambda x, y: fused_ssim(x, y, reduction="none").mean()):
        values = mean(x, strided), mean(x.contiguous(), dense)
        assert float(values[0].detach()) == float(values[1].detach())
        assert torch.equal(*(gradients(value, leaf)[0] for value, leaf in zip(values, (strided, dense), strict=True)))


def test_result_is_the_same_bits_at_every_call_and_ssim_at_every_thread_count(threads):
    x, y = images(3, 200, 90)
    y.requires_grad_()
    rendered, target = y.detach()[0, :128, :32].reshape(4096, 1).repeat(1, 3).requires_grad_(), torch.rand(4096, 3)
    loss = S3IM(seed=4)

    def once():
        mean, _ = ops.ssim_mean(x, y, SsimWindow())
        stochastic = loss.evaluate(rendered, target, torch.Generator().manual_seed(0)).loss
        return mean.detach(), gradients(mean, y)[0], stochastic.detach(), gradients(stochastic, rendered)[0]

    first = once()
    for _ in range(3):
        assert all(torch.equal(a, b) for a, b in zip(first, once(), strict=True))
    torch.set_num_threads(3 - threads)
    assert all(torch.equal(a, b) for a, b in zip(first[:3], once()[:3], strict=True))


@pytest.mark.slow
def test_opcheck_passes_on_each_op():
    x, y = (image.requires_grad_() for image in images(2, 13, 9))
    places = (SsimWindow(5).taps, 2, 1, 2)
    arguments = (*places, 1e-4, 9e-4, (1.0, 0.0, 0.0))
    partials = torch.rand(4, 2, 6, 4)
    rays, orders = torch.rand(24, 3), torch.stack([torch.arange(24), torch.randperm(24)])
    s3im, constants = (4, SsimWindow(4).taps, 4, 1), (1e-4, 9e-4, (0.5, 0.2, 0.3))
    native = torch.ops.nerf_ssim
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.library.opcheck(native.ssim_mean.default, (x, y, *arguments, True, True))
        torch.library.opcheck(native.ssim_mean.default, (x.detach(), y, *arguments, False, True))
        torch.library.opcheck(native.ssim_mean.default, (x.detach(), y.detach(), *arguments, False, False))
        torch.library.opcheck(native.ssim_moments.default, (x, y, *places))
        detached = x.detach(), y.detach(), partials, torch.tensor(0.5), 2.0
        torch.library.opcheck(native.ssim_adjoint.default, (*detached, *places, True, True))
        again = x.detach(), y.detach(), torch.tensor(0.5), 2.0
        torch.library.opcheck(native.ssim_recompute.default, (*again, *arguments, False, True))
        for needs_gradient in (True, False):
            torch.library.opcheck(native.s3im.default, (rays, rays.flip(0), orders, *s3im, *constants, needs_gradient))


def test_what_native_code_does_not_serve_falls_to_the_reference():
    x, y = images(1, 14, 14)
    torch.testing.assert_close(fused_ssim(x, y, clamp_variance=True), fused_ssim(x, y), rtol=0, atol=1e-5)
    rendered, target = torch.rand(64, 3), torch.rand(64, 3, requires_grad=True)
    loss = S3IM(patch_height=8, patch_width=8)(rendered, target)
    assert gradients(loss, target)[0].abs().max() > 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_are_passed_on(value):
    x, y = images(1, 30, 30)
    y[0, 20, 20] = value
    mapped = fused_ssim(x, y, reduction="none")
    assert bool(mapped[0, 20, 20].isnan()) and bool(mapped[0, :14].isfinite().all())
    assert bool(fused_ssim(x, y).isnan())


def test_a_mean_whose_gradient_nobody_gives_has_none():
    class Cut(torch.autograd.Function):
        @staticmethod
        def forward(ctx, value):
            return value.clone()

        @staticmethod
        def backward(ctx, grad):
            return None

    x, y = torch.rand(1, 16, 16), torch.rand(1, 16, 16, requires_grad=True)
    mean, _ = ops.ssim_mean(x, y, SsimWindow())
    (Cut.apply(mean) + y.sum()).backward()
    assert torch.equal(y.grad, torch.ones_like(y))


def test_without_gradients_nothing_is_saved():
    x, y = images(1, 20, 20)
    with torch.no_grad():
        assert not fused_ssim(x, y.requires_grad_()).requires_grad
    _, _, partials = torch.ops.nerf_ssim.ssim_mean(
        x, y.detach(), (1.0,), 1, 0, 0, 1e-4, 9e-4, (1.0, 0.0, 0.0), False, False
    )
    assert partials.numel() == 0
