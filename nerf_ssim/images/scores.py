"""What a 2D fit is measured by: best PSNR, the cost of reaching a level, and how the error is spread then."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from nerf_ssim.errors import CheckpointError

__all__ = ["LEVELS", "FitScores", "StepScore", "score_step"]

LEVELS = (20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 85, 90, 95, 100, 105, 110, 115, 120)
"""PSNR levels, dB, whose first crossing is recorded."""


@dataclass(frozen=True)
class StepScore:
    """PSNR in dB (infinite for an exact fit) and the unbiased variance of the squared errors of all values."""

    psnr: float
    variance: float


def score_step(values: Tensor, target: Tensor) -> StepScore:
    """The score of `values` against a float64 `target` of the same shape; not clamped, as published."""
    squared = (values.detach().to(target.dtype) - target).square()
    error = squared.mean().item()
    variance = squared.var().item() if squared.numel() > 1 else math.nan
    if math.isnan(error):
        return StepScore(math.nan, variance)
    return StepScore(-10 * math.log10(error) if error > 0 else math.inf, variance)


class FitScores:
    """The scores of a fit so far, step by step.

    Attributes:
        psnr_best, step_best: the best PSNR and the first step that had it; -inf and None before any.
        cost: by level M, the first step with PSNR >= M dB; levels not reached are absent.
        variance: by level, the variance of the squared errors at that step.
    """

    def __init__(self) -> None:
        self.psnr_best = -math.inf
        self.step_best: int | None = None
        self.cost: dict[int, int] = {}
        self.variance: dict[int, float] = {}

    def observe(self, step: int, score: StepScore) -> None:
        """Take the score after `step` updates."""
        if score.psnr > self.psnr_best:
            self.psnr_best, self.step_best = score.psnr, step
        for level in LEVELS:
            if level not in self.cost and score.psnr >= level:
                self.cost[level], self.variance[level] = step, score.variance

    def results(self) -> dict[str, Any]:
        """The entries of `results.json`: every level is there, null where it was not reached."""
        return {
            "psnr_best": self.psnr_best if math.isfinite(self.psnr_best) else None,
            "step_best": self.step_best,
            "cost": {str(level): self.cost.get(level) for level in LEVELS},
            "variance": {str(level): self.variance.get(level) for level in LEVELS},
        }

    def state_dict(self) -> dict[str, Any]:
        """Plain values from which `load_state_dict` continues."""
        return {
            "psnr_best": self.psnr_best,
            "step_best": self.step_best,
            "cost": dict(self.cost),
            "variance": dict(self.variance),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`'s values; a missing key is a CheckpointError."""
        try:
            self.psnr_best, self.step_best = state["psnr_best"], state["step_best"]
            self.cost, self.variance = dict(state["cost"]), dict(state["variance"])
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"the fit's scores are not readable ({error!r})") from error
