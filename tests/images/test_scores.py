"""Best PSNR, costs and variance of a fit."""

from __future__ import annotations

import math

import pytest
import torch

from nerf_ssim.errors import CheckpointError
from nerf_ssim.images.scores import FitScores, StepScore, score_step


def test_psnr_is_not_clamped_and_the_variance_is_the_unbiased_one_of_squared_errors():
    target = torch.tensor([[0.0], [1.0], [0.5]], dtype=torch.float64)
    values = torch.tensor([[0.5], [1.5], [0.5]])
    score = score_step(values, target)
    squared = [0.25, 0.25, 0.0]
    mean = sum(squared) / 3
    assert score.psnr == pytest.approx(-10 * math.log10(mean))
    assert score.variance == pytest.approx(sum((s - mean) ** 2 for s in squared) / 2)


def test_an_exact_fit_is_infinite_and_a_nan_is_a_nan():
    target = torch.zeros(2, 1, dtype=torch.float64)
    assert score_step(torch.zeros(2, 1), target).psnr == math.inf
    assert math.isnan(score_step(torch.full((2, 1), math.nan), target).psnr)


def test_cost_is_the_first_step_at_or_above_the_level_and_best_is_the_first_best():
    scores = FitScores()
    for step, psnr in enumerate((15.0, 40.0, 38.0, 61.0, 52.0, 61.0)):
        scores.observe(step, StepScore(psnr, variance=float(step)))
    results = scores.results()
    assert (results["psnr_best"], results["step_best"]) == (61.0, 3)
    assert results["cost"]["40"] == 1 and results["cost"]["50"] == 3 and results["cost"]["60"] == 3
    assert results["variance"]["40"] == 1.0 and results["variance"]["60"] == 3.0
    assert results["cost"]["65"] is None and results["variance"]["65"] is None


def test_scores_continue_from_their_state_and_refuse_half_of_one():
    first, second = FitScores(), FitScores()
    first.observe(3, StepScore(42.0, 0.1))
    second.load_state_dict(first.state_dict())
    assert second.results() == first.results()
    with pytest.raises(CheckpointError):
        second.load_state_dict({"cost": {}})
