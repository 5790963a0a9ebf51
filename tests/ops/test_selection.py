"""The choice of samples by weight: what is gathered, and the gradient of the weights."""

from __future__ import annotations

import pytest
import torch

from nerf_ssim.ops.reference import selection as reference
from nerf_ssim.ops.selection import gather_samples, select_samples
from tests.ops.native_parity import require_native, threads

RAYS = 40


def samples(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(count, generator=generator)
    rays = torch.sort(torch.randint(RAYS, (count,), generator=generator))[0]
    return weights, rays, torch.rand(count, 3, generator=generator), torch.rand(RAYS, 3, generator=generator)


@pytest.mark.parametrize("count", [0, 1, 700, 100_000])
@pytest.mark.parametrize("has_t", [False, True])
def test_what_is_chosen_is_what_the_reference_chooses(count, has_t):
    require_native("select_samples")
    given = samples(count)
    t = torch.rand(count) if has_t else None
    for n_threads in (1, 3):
        with threads(n_threads):
            weights, chosen = select_samples(*given, 0.5, t)
        for actual, expected in zip((weights, *chosen), reference.select_samples(*given, t, 0.5), strict=True):
            assert torch.equal(actual, expected)


def test_a_weight_of_just_the_threshold_is_left_out():
    weights, *others = samples(3)
    kept, chosen = select_samples(torch.tensor([0.5, 0.5000001, 0.4999]), *others, 0.5)
    assert chosen.index.tolist() == [1] and kept.tolist() == [pytest.approx(0.5000001)]


def test_gradient_goes_to_the_chosen_and_is_zero_elsewhere():
    weights, *others = samples(5000)
    weights.requires_grad_()
    kept, chosen = select_samples(weights, *others, 0.7)
    upstream = torch.linspace(1, 2, len(kept))
    (gradient,) = torch.autograd.grad(kept, weights, upstream)
    expected = torch.zeros(5000)
    expected[chosen.index] = upstream
    assert torch.equal(gradient, expected)


def test_samples_drawn_otherwise_are_gathered_alike():
    weights, *others = samples(300)
    _, chosen = select_samples(weights, *others, 0.3)
    for actual, expected in zip(gather_samples(chosen.index, *others), chosen, strict=True):
        assert torch.equal(actual, expected)


def test_parts_hold_all_samples_in_order():
    weights, *others = samples(300)
    _, chosen = select_samples(weights, *others, 0.3)
    parts = chosen.split(64)
    assert max(len(part.index) for part in parts) == 64
    assert torch.equal(torch.cat([part.directions for part in parts]), chosen.directions)


def test_a_chosen_sample_of_a_ray_that_does_not_exist_is_refused():
    require_native("select_samples")
    weights, rays, coords, directions = samples(10)
    with pytest.raises(RuntimeError, match="names a ray beyond directions"):
        select_samples(weights, rays + RAYS, coords, directions, 0.1)
