"""Compositing against its definition, and the native kernels against the specification."""

import pytest
import torch
from native_parity import assert_equal_to_rounding, require_native, threads, value_and_gradients

from nerf_ssim.ops.compositing import accumulate, composite
from nerf_ssim.ops.reference import compositing as reference


def make_samples(counts, seed=0, dtype=torch.float32):
    """Packed samples with so many on each ray; densities from nothing to opaque."""
    offsets = torch.tensor([0, *torch.tensor(counts, dtype=torch.int64).cumsum(0).tolist()])
    n = int(offsets[-1])
    generator = torch.Generator().manual_seed(seed)
    sigma = (torch.randn(n, generator=generator, dtype=dtype) * 4 - 1).exp()
    delta = torch.rand(n, generator=generator, dtype=dtype) * 0.02
    if n:
        delta[offsets[1:][offsets.diff() > 0] - 1] = 0
    return sigma.requires_grad_(), delta, offsets


COUNTS = [[5, 0, 1, 30, 0], [0, 0], [], [1], [7] * 4000]


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_weights_are_those_of_a_plain_loop(backend, monkeypatch):
    monkeypatch.setenv("NERF_SSIM_BACKEND", backend)
    sigma, delta, offsets = make_samples([4, 0, 6, 1])
    sigma = sigma.detach()
    result = composite(sigma, delta, offsets, distance_scale=25.0)
    for r in range(4):
        light, opacity = 1.0, 0.0
        for s in range(int(offsets[r]), int(offsets[r + 1])):
            alpha = 1 - float((-sigma[s].double() * delta[s].double() * 25).exp())
            assert float(result.transmittance[s]) == pytest.approx(light, rel=1e-5, abs=1e-12)
            assert float(result.weights[s]) == pytest.approx(alpha * light, rel=1e-5, abs=1e-9)
            opacity += alpha * light
            light *= 1 - alpha + 1e-10
        assert float(result.opacity[r]) == pytest.approx(opacity, rel=1e-5, abs=1e-9)


def test_small_opacities_keep_their_digits():
    for value in (1e-8, 1e-5, 0.3):
        result = composite(torch.tensor([value]), torch.ones(1), torch.tensor([0, 1]))
        exact = -torch.expm1(torch.tensor(-value, dtype=torch.float32).double())
        assert float(result.weights[0]) == pytest.approx(float(exact), rel=3e-7)


def test_weights_of_a_ray_sum_to_at_most_one():
    result = composite(*make_samples([50] * 100), distance_scale=25.0)
    assert float(result.opacity.max()) <= 1 + 1e-5 and float(result.weights.min()) >= 0


def test_reference_gradient_is_right_in_float64():
    sigma, delta, offsets = make_samples([4, 0, 3], dtype=torch.float64)
    delta.requires_grad_()
    assert torch.autograd.gradcheck(lambda s, d: composite(s, d, offsets, distance_scale=25.0), (sigma, delta))
    weights, values = torch.rand(7, dtype=torch.float64), torch.rand(7, 3, dtype=torch.float64)
    rays = reference.ray_index_of(offsets)
    assert torch.autograd.gradcheck(
        lambda w, v: accumulate(w, v, rays, 3), (weights.requires_grad_(), values.requires_grad_())
    )


def test_reference_does_not_depend_on_how_rays_are_chunked(monkeypatch):
    samples = make_samples([5, 0, 1, 30, 0, 2])
    whole = reference.composite(*samples)
    monkeypatch.setattr(reference, "_PADDED_ELEMENTS", 40)
    assert all(torch.equal(a, b) for a, b in zip(reference.composite(*samples), whole, strict=True))


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("output", [0, 1, 2])
def test_native_composite_equals_float64_reference(counts, output, n_threads):
    require_native("composite")
    sigma, delta, offsets = make_samples(counts)
    exact_sigma = sigma.detach().double().requires_grad_()
    with threads(n_threads):
        actual = value_and_gradients(lambda: composite(sigma, delta, offsets, distance_scale=25.0)[output], [sigma])
    exact = value_and_gradients(
        lambda: reference.composite(exact_sigma, delta.double(), offsets, 25.0)[output], [exact_sigma]
    )
    assert_equal_to_rounding(actual, exact, 1e-5)


def test_gradients_of_all_outputs_add_up():
    require_native("composite")
    sigma, delta, offsets = make_samples([9, 4, 0, 20])

    def everything(function):
        weights, opacity, light = function(sigma, delta, offsets)
        return torch.autograd.grad((weights**2).sum() + (opacity**3).sum() + light.cos().sum(), sigma)

    torch.testing.assert_close(everything(composite), everything(reference.composite), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("is_sorted", [True, False])
@pytest.mark.parametrize(("samples", "channels"), [(20000, 3), (1, 1), (0, 3), (100, 7)])
def test_native_accumulate_equals_float64_reference(samples, channels, is_sorted, n_threads):
    require_native("accumulate")
    generator = torch.Generator().manual_seed(0)
    rays = torch.randint(0, 50, (samples,), generator=generator)
    rays = rays.sort().values if is_sorted else rays
    inputs = [torch.rand(samples, generator=generator), torch.randn(samples, channels, generator=generator)]
    singles = [i.clone().requires_grad_() for i in inputs]
    doubles = [i.double().requires_grad_() for i in inputs]
    with threads(n_threads):
        actual = value_and_gradients(lambda: accumulate(*singles, rays, 50), singles)
    assert_equal_to_rounding(
        actual, value_and_gradients(lambda: reference.accumulate(*doubles, rays, 50), doubles), 1e-5
    )


def test_sums_under_deterministic_algorithms_equal_the_reference():
    require_native("accumulate")
    generator = torch.Generator().manual_seed(0)
    rays = torch.randint(0, 9, (500,), generator=generator)
    weights, values = torch.rand(500, generator=generator), torch.randn(500, 3, generator=generator)
    torch.use_deterministic_algorithms(True)
    try:
        first, again = (accumulate(weights, values, rays, 10) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert_equal_to_rounding([first], [reference.accumulate(weights.double(), values.double(), rays, 10)], 1e-5)
    assert torch.equal(first, again)


def test_native_takes_non_contiguous_input():
    require_native("composite")
    sigma, delta, offsets = make_samples([9, 4])
    sigma = sigma.detach()
    strided = torch.stack((sigma, delta), dim=1)
    actual = composite(strided[:, 0], strided[:, 1], offsets)
    assert torch.equal(actual.weights, composite(sigma, delta, offsets).weights)


@pytest.mark.slow
def test_native_operators_pass_opcheck():
    require_native("composite")
    sigma, delta, offsets = make_samples([3, 0, 2])
    torch.library.opcheck(torch.ops.nerf_ssim.composite.default, (sigma, delta, offsets, 25.0))
    values = torch.rand(5, 3, requires_grad=True)
    rays = reference.ray_index_of(offsets)
    torch.library.opcheck(torch.ops.nerf_ssim.accumulate.default, (sigma, values, rays, 3))


@pytest.mark.parametrize("offsets", [[0, 3], [1, 5], [0, 4, 2, 5], [], [[0, 5]]])
def test_offsets_that_do_not_cover_the_samples_are_refused(offsets):
    with pytest.raises(ValueError):
        composite(torch.ones(5), torch.ones(5), torch.tensor(offsets, dtype=torch.int64))


def test_a_ray_that_does_not_exist_is_refused():
    with pytest.raises((RuntimeError, IndexError)):
        accumulate(torch.ones(2), torch.ones(2, 3), torch.tensor([0, 7]), 3)
    with pytest.raises(ValueError):
        accumulate(torch.ones(2), torch.ones(3, 3), torch.tensor([0, 1]), 3)
