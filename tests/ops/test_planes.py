"""Total variation and resampling of planes and lines."""

import pytest
import torch
from native_parity import assert_equal_to_rounding, require_native, threads, value_and_gradients

from nerf_ssim.ops.reference import resize as resize_reference
from nerf_ssim.ops.reference import total_variation as tv_reference
from nerf_ssim.ops.resize import resize_line, resize_plane
from nerf_ssim.ops.total_variation import line_tv, plane_tv, planes_tv

SHAPES = [(5, 7, 3), (1, 4, 16), (6, 1, 2), (1, 1, 5), (90, 70, 16)]


def random_plane(shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype).requires_grad_()


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_tv_is_twice_the_sum_of_the_two_mean_squared_differences(backend, monkeypatch):
    monkeypatch.setenv("NERF_SSIM_BACKEND", backend)
    plane = random_plane((3, 4, 2))
    rows = [(plane[v + 1, u, c] - plane[v, u, c]) ** 2 for v in range(2) for u in range(4) for c in range(2)]
    columns = [(plane[v, u + 1, c] - plane[v, u, c]) ** 2 for v in range(3) for u in range(3) for c in range(2)]
    torch.testing.assert_close(plane_tv(plane), 2 * (sum(rows) / len(rows) + sum(columns) / len(columns)))
    line = plane[0]
    torch.testing.assert_close(line_tv(line), 2 * (line[1:] - line[:-1]).square().mean())


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_native_tv_equals_float64_reference(shape, n_threads):
    require_native("planes_tv")
    plane, exact_plane = random_plane(shape), random_plane(shape).detach().double().requires_grad_()
    with threads(n_threads):
        actual = value_and_gradients(lambda: plane_tv(plane), [plane])
    assert_equal_to_rounding(actual, value_and_gradients(lambda: tv_reference.plane_tv(exact_plane), [exact_plane]))


def test_reference_tv_gradient_is_right_in_float64():
    assert torch.autograd.gradcheck(plane_tv, random_plane((3, 4, 2), torch.float64))
    assert torch.autograd.gradcheck(line_tv, random_plane((4, 2), torch.float64))


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("size", [(9, 13), (5, 7), (1, 1), (3, 2), (64, 65)])
@pytest.mark.parametrize("shape", [(5, 7, 16), (1, 4, 3)])
def test_native_resize_equals_reference(shape, size, n_threads):
    require_native("resize_plane")
    plane = random_plane(shape).detach()
    with threads(n_threads):
        actual = resize_plane(plane, size)
    assert_equal_to_rounding([actual], [resize_reference.resize_plane(plane.double(), size)], 1e-5)


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_resizing_keeps_corners_and_linear_ramps(backend, monkeypatch):
    monkeypatch.setenv("NERF_SSIM_BACKEND", backend)
    v, u = torch.meshgrid(torch.linspace(0, 1, 4), torch.linspace(0, 2, 5), indexing="ij")
    ramp = torch.stack((v, u, v - u), dim=2)
    bigger = resize_plane(ramp, (7, 11))
    torch.testing.assert_close(bigger[:, 0, 0], torch.linspace(0, 1, 7))
    torch.testing.assert_close(bigger[3, :, 1], torch.linspace(0, 2, 11))
    torch.testing.assert_close(resize_line(ramp[:, 0], 10)[:, 0], torch.linspace(0, 1, 10))
    assert torch.equal(resize_plane(ramp, (4, 5)), ramp)


def test_resizing_is_differentiable():
    assert torch.autograd.gradcheck(lambda p: resize_plane(p, (4, 6)), random_plane((3, 4, 2), torch.float64))
    plane = random_plane((3, 4, 2))
    resize_plane(plane, (4, 6)).sum().backward()
    assert float(plane.grad.sum()) == pytest.approx(48.0, rel=1e-5)


@pytest.mark.slow
def test_native_operators_pass_opcheck():
    require_native("planes_tv")
    planes = [random_plane((3, 4, 2)), random_plane((2, 5, 4))]
    torch.library.opcheck(torch.ops.nerf_ssim.planes_tv.default, (planes, [0.01, 3.0]))
    torch.library.opcheck(torch.ops.nerf_ssim.resize_plane.default, (random_plane((3, 4, 2)).detach(), 5, 6))


def test_wrong_shapes_are_refused():
    for call in (
        lambda: plane_tv(torch.ones(3, 3)),
        lambda: line_tv(torch.ones(3)),
        lambda: resize_line(torch.ones(3, 2), 0),
    ):
        with pytest.raises(ValueError):
            call()
    with pytest.raises(ValueError):
        resize_plane(torch.ones(3, 3, 1), (0, 3))


def test_planes_together_are_the_planes_one_by_one_to_the_last_bit():
    """A step gives the same weights as when every plane's term was an operator of its own."""
    planes = [random_plane(shape).detach().requires_grad_() for shape in ((9, 5, 16), (7, 5, 16), (7, 9, 16))]
    together = planes_tv(planes, 1e-2, 0.37)
    alone = 0.37 * (1e-2 * ((plane_tv(planes[0]) + plane_tv(planes[1])) + plane_tv(planes[2])))
    assert torch.equal(together, alone)
    for a, b in zip(torch.autograd.grad(together, planes), torch.autograd.grad(alone, planes), strict=True):
        assert torch.equal(a, b)


def test_a_number_of_planes_that_no_grid_has_is_refused():
    with pytest.raises(ValueError, match="one to 3, not 4"):
        planes_tv([torch.ones(2, 2, 1)] * 4)
