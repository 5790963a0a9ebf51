"""Compositing of voxel densities with its early stop, and the distortion loss."""

import math

import pytest
import torch
from native_parity import assert_equal_to_rounding, require_native, threads, value_and_gradients

from nerf_ssim.ops.alpha_compositing import composite_voxels, distortion_loss, voxel_alpha
from nerf_ssim.ops.reference import alpha_compositing as reference

SHIFT, INTERVAL = -3.0, 0.5
COUNTS = [[5, 0, 1, 300, 0], [0, 0], [], [1], [70] * 300]


def make_samples(counts, seed=0, dtype=torch.float32):
    """Packed densities with so many on each ray, from empty to opaque, none within rounding of the threshold."""
    offsets = torch.tensor([0, *torch.tensor(counts, dtype=torch.int64).cumsum(0).tolist()])
    generator = torch.Generator().manual_seed(seed)
    density = (torch.randn(int(offsets[-1]), generator=generator, dtype=dtype) * 100).round() / 32
    return density.requires_grad_(), offsets


def options(**changes):
    return {"shift": SHIFT, "interval": INTERVAL, "alpha_threshold": 1e-2, "stop": 1e-3, **changes}


@pytest.mark.parametrize("backend", ["reference", "auto"])
@pytest.mark.parametrize("stop", [1e-3, 0.3, 0.0])
def test_weights_are_those_of_a_plain_loop(stop, backend, monkeypatch):
    monkeypatch.setenv("NERF_SSIM_BACKEND", backend)
    density, offsets = make_samples([4, 0, 90, 1])
    result = composite_voxels(density.detach(), offsets, **options(stop=stop))
    n_after_stop = n_below = 0
    for r in range(4):
        light = 1.0
        is_stopped = False
        for s in range(int(offsets[r]), int(offsets[r + 1])):
            alpha = 1 - (1 + math.exp(float(density[s].detach()) + SHIFT)) ** -INTERVAL
            n_below += alpha <= 1e-2
            n_after_stop += is_stopped
            alpha = 0.0 if is_stopped or alpha <= 1e-2 else alpha
            assert float(result.weights[s]) == pytest.approx(alpha * light, rel=1e-4, abs=1e-8)
            light *= 1 - alpha
            is_stopped = is_stopped or light < stop
        assert float(result.background[r]) == pytest.approx(light, rel=1e-4)
    assert n_below > 5 and (n_after_stop > 0) == (stop > 0)


def test_small_and_large_densities_keep_their_digits():
    density = torch.tensor([-80.0, -20, -5, -0.01, 0, 0.01, 5, 20, 80])
    exact = -torch.expm1(-0.5 * torch.nn.functional.softplus(density.double(), threshold=100))
    torch.testing.assert_close(voxel_alpha(density, shift=0.0, interval=0.5).double(), exact, rtol=5e-7, atol=0)
    offsets = torch.arange(len(density) + 1)  # a sample a ray: its weight is its opacity
    weights = composite_voxels(density, offsets, shift=0.0, interval=0.5).weights
    torch.testing.assert_close(weights.double(), exact, rtol=5e-7, atol=0)


def test_an_opaque_sample_ends_the_ray_and_every_gradient_is_finite():
    density = torch.tensor([-1.0, 500.0, 2.0], requires_grad=True)
    result = composite_voxels(density, torch.tensor([0, 3]), **options(alpha_threshold=0.0))
    (result.weights.sum() + result.background.sum()).backward()
    assert result.weights[2] == 0 and result.background[0] == 0 and density.grad.isfinite().all()


def test_weights_and_background_of_a_ray_sum_to_one():
    density, offsets = make_samples([50] * 100)
    result = composite_voxels(density.detach(), offsets, **options())
    total = result.weights.reshape(100, 50).sum(1) + result.background
    torch.testing.assert_close(total, torch.ones(100))


def test_reference_gradients_are_right_in_float64():
    density, offsets = make_samples([6, 0, 9], dtype=torch.float64)
    for stop in (1e-3, 0.4):
        assert torch.autograd.gradcheck(
            lambda d, stop=stop: composite_voxels(d, offsets, **options(stop=stop)), density
        )
    assert torch.autograd.gradcheck(lambda d: voxel_alpha(d, shift=SHIFT, interval=INTERVAL), density)
    generator = torch.Generator().manual_seed(1)
    weights = torch.rand(6, generator=generator, dtype=torch.float64).requires_grad_()
    s = torch.rand(6, generator=generator, dtype=torch.float64).requires_grad_()
    rays = torch.tensor([0, 0, 0, 2, 2, 5])
    assert torch.autograd.gradcheck(lambda w, s: distortion_loss(w, s, rays, 0.01), (weights, s))


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("output", [0, 1])
@pytest.mark.parametrize("stop", [1e-3, 0.2])
def test_native_compositing_equals_float64_reference(stop, counts, output, n_threads):
    require_native("composite_voxels")
    density, offsets = make_samples(counts)
    exact_density = density.detach().double().requires_grad_()
    with threads(n_threads):
        actual = value_and_gradients(
            lambda: composite_voxels(density, offsets, **options(stop=stop))[output], [density]
        )
    exact = value_and_gradients(
        lambda: reference.composite_voxels(exact_density, offsets, *options(stop=stop).values())[output],
        [exact_density],
    )
    assert_equal_to_rounding(actual, exact, 3e-5)  # a sample's own gradient and that of what it hides nearly cancel


def test_gradients_of_both_outputs_add_up():
    require_native("composite_voxels")
    density, offsets = make_samples([9, 4, 0, 120])

    def everything(function):
        weights, background = function()
        return torch.autograd.grad((weights**2).sum() + (background**3).sum(), density)

    native = everything(lambda: composite_voxels(density, offsets, **options()))
    expected = everything(lambda: reference.composite_voxels(density, offsets, *options().values()))
    torch.testing.assert_close(native, expected, rtol=1e-4, atol=1e-7)


def make_weights(samples, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rays = torch.randint(0, max(1, samples // 9), (samples,), generator=generator).sort().values
    rays = rays + rays // 3  # some rays without samples
    s = torch.rand(samples, generator=generator)
    s = s[torch.argsort(rays + s)]
    return torch.rand(samples, generator=generator) * 0.1, s, rays


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_distortion_is_the_sum_over_all_pairs(backend, monkeypatch):
    monkeypatch.setenv("NERF_SSIM_BACKEND", backend)
    weights, s, rays = make_weights(60)
    pairs = weights[:, None] * weights * (s[:, None] - s).abs() * (rays[:, None] == rays)
    expected = (pairs.sum() + 0.25 / 3 * weights.square().sum()) / (rays[-1] + 1)
    torch.testing.assert_close(distortion_loss(weights, s, rays, 0.25), expected)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("samples", [30_000, 11, 1, 0])
def test_native_distortion_equals_float64_reference(samples, n_threads):
    require_native("distortion_loss")
    weights, s, rays = make_weights(samples)
    weights, exact_weights = weights.requires_grad_(), weights.double().requires_grad_()
    with threads(n_threads):
        actual = value_and_gradients(lambda: distortion_loss(weights, s, rays, 0.01), [weights])
    exact = value_and_gradients(
        lambda: reference.distortion_loss(exact_weights, s.double(), rays, 0.01), [exact_weights]
    )
    assert_equal_to_rounding(actual, exact, 1e-5)


def test_native_takes_non_contiguous_input():
    require_native("composite_voxels")
    density, offsets = make_samples([9, 4])
    strided = torch.stack((density.detach(), density.detach()), dim=1)[:, 0]
    expected = composite_voxels(density.detach(), offsets, **options())
    assert torch.equal(composite_voxels(strided, offsets, **options()).weights, expected.weights)
    weights, s, rays = make_weights(40)
    pairs = torch.stack((weights, s), dim=1)
    assert torch.equal(distortion_loss(pairs[:, 0], pairs[:, 1], rays, 0.1), distortion_loss(weights, s, rays, 0.1))


@pytest.mark.slow
def test_native_operators_pass_opcheck():
    require_native("composite_voxels")
    density, offsets = make_samples([3, 0, 2])
    torch.library.opcheck(torch.ops.nerf_ssim.composite_voxels.default, (density, offsets, *options().values()))
    weights, s, rays = make_weights(12)
    torch.library.opcheck(torch.ops.nerf_ssim.distortion_loss.default, (weights.requires_grad_(), s, rays, 0.1))


@pytest.mark.parametrize("offsets", [[0, 3], [1, 5], [0, 4, 2, 5], [], [[0, 5]]])
def test_offsets_that_do_not_cover_the_samples_are_refused(offsets):
    with pytest.raises(ValueError):
        composite_voxels(torch.ones(5), torch.tensor(offsets, dtype=torch.int64), **options())


def test_wrong_shapes_and_orders_are_refused():
    with pytest.raises(ValueError):
        composite_voxels(torch.ones(5, 1), torch.tensor([0, 5]), **options())
    with pytest.raises(ValueError):
        distortion_loss(torch.ones(2), torch.ones(3), torch.tensor([0, 1]), 0.1)
    with pytest.raises(ValueError):
        distortion_loss(torch.ones(2), torch.ones(2), torch.tensor([0.0, 1]), 0.1)
