"""Leaving samples out: drawn colours are unbiased, and recomputing changes nothing but memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nerf_ssim.models.parts.rendering import SAMPLES_IN_A_PART, in_recomputed_parts
from nerf_ssim.models.parts.thinning import draw_by_weight
from nerf_ssim.ops.compositing import composite
from nerf_ssim.ops.marching import Samples

LENGTHS = (7, 0, 1, 40, 3, 33, 0)  # samples of each ray; none at all at the end


def packed(seed: int, lengths: tuple[int, ...] = LENGTHS) -> tuple[Samples, Tensor]:
    """Samples of rays with these lengths, and a density of every size from nothing to opaque."""
    generator = torch.Generator().manual_seed(seed)
    n = sum(lengths)
    offsets = torch.tensor((0, *lengths)).cumsum(0)
    ray_index = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    coords = torch.rand(n, 3, generator=generator) * 2 - 1
    sigma = torch.exp(4 * torch.randn(n, generator=generator) - 2)
    return Samples(coords, torch.rand(n, generator=generator), torch.full((n,), 0.05), ray_index, offsets), sigma


def weights_of(samples: Samples, sigma: Tensor) -> Tensor:
    return composite(sigma, samples.delta, samples.ray_offsets, distance_scale=25.0).weights


def above_threshold(weights: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Indices and weights of the samples that draws are made from."""
    chosen = (weights.detach() > threshold).nonzero()[:, 0]
    return chosen, weights[chosen]


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 4, 100])
def test_drawn_factors_average_to_the_weights_above_the_threshold(count):
    samples, sigma = packed(0)
    weights, threshold, trials = weights_of(samples, sigma), 1e-3, 1000
    total = torch.zeros_like(weights, dtype=torch.float64)
    phases = torch.linspace(0, 1, trials + 1)[:-1] + 0.5 / trials  # every phase alike, so the average is the mean
    for phase in phases:
        chosen, factors = draw_by_weight(weights, samples.ray_offsets, threshold, count, phase.expand(len(LENGTHS)))
        total[chosen] += factors.double()
    expected = torch.where(weights > threshold, weights, 0.0).double()
    torch.testing.assert_close(total / trials, expected, rtol=0, atol=2.0 / (count * trials) + 1e-6)


def test_at_most_count_samples_of_a_ray_are_drawn_and_none_below_the_threshold():
    samples, sigma = packed(1)
    weights = weights_of(samples, sigma)
    chosen, _ = draw_by_weight(weights, samples.ray_offsets, 1e-3, 5, torch.rand(len(LENGTHS)))
    assert torch.bincount(samples.ray_index[chosen], minlength=len(LENGTHS)).max() <= 5
    assert (weights[chosen] > 1e-3).all() and (chosen.diff() > 0).all()


def test_drawn_factors_of_a_ray_sum_to_its_weight_above_the_threshold():
    samples, sigma = packed(2)
    weights = weights_of(samples, sigma)
    chosen, factors = draw_by_weight(weights, samples.ray_offsets, 1e-3, 6, torch.rand(len(LENGTHS)))
    sums = torch.zeros(len(LENGTHS)).index_add(0, samples.ray_index[chosen], factors)
    everything, kept = above_threshold(weights, 1e-3)
    expected = torch.zeros(len(LENGTHS)).index_add(0, samples.ray_index[everything], kept)
    torch.testing.assert_close(sums, expected)


@pytest.mark.slow
def test_the_gradient_of_a_drawn_sum_is_unbiased():
    samples, sigma = packed(3)
    values = torch.rand(len(sigma), dtype=torch.float64, generator=torch.Generator().manual_seed(4))

    def gradient(select) -> Tensor:
        leaf = sigma.double().requires_grad_()
        weights = composite(leaf, samples.delta.double(), samples.ray_offsets, distance_scale=25.0).weights
        chosen, factors = select(weights)
        return torch.autograd.grad((factors * values[chosen]).sum(), leaf)[0]

    threshold = 0.03  # what is drawn one time in thirty is seen often enough in 500 phases
    phases = torch.linspace(0, 1, 501)[:-1]
    drawn = sum(
        gradient(lambda w, p=phase: draw_by_weight(w, samples.ray_offsets, threshold, 3, p.expand(len(LENGTHS))))
        for phase in phases
    ) / len(phases)
    torch.testing.assert_close(drawn, gradient(lambda w: above_threshold(w, threshold)), rtol=3e-2, atol=4e-3)


def test_nothing_is_drawn_of_nothing():
    none = torch.zeros(0)
    chosen, factors = draw_by_weight(none, torch.zeros(3, dtype=torch.int64), 1e-4, 4, torch.rand(2))
    assert len(chosen) == len(factors) == 0


def test_recomputed_colours_and_gradients_are_those_of_one_part(monkeypatch):
    monkeypatch.setattr("nerf_ssim.models.parts.rendering.SAMPLES_IN_A_PART", 64)
    assert SAMPLES_IN_A_PART > 64
    generator = torch.Generator().manual_seed(6)
    table = torch.randn(300, 3, generator=generator, dtype=torch.float64).requires_grad_()
    saved = []

    def color_of(index: Tensor) -> Tensor:
        with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
            return torch.sigmoid(table[index]).cos()

    index = torch.randint(0, 300, (1000,), generator=generator)
    upstream = torch.randn(1000, 3, generator=generator, dtype=torch.float64)
    whole = color_of(index)
    parts = in_recomputed_parts(color_of)(index)
    assert torch.equal(parts, whole)
    expected = torch.autograd.grad(whole, table, upstream)[0]
    torch.testing.assert_close(torch.autograd.grad(parts, table, upstream)[0], expected)
