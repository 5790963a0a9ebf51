"""Means with intervals, and paired differences with a sign-flip test, for a handful of seeds."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["PairedDifference", "Summary", "paired_difference", "pairs_needed", "student_t_quantile", "summarise"]

EXACT_PAIRS = 16
DRAWS = 2**16


@dataclass(frozen=True)
class Summary:
    """The mean of some values, how many, and half the width of the 95% interval of the mean; None for one value."""

    mean: float
    half_width: float | None
    count: int

    def text(self, decimals: int) -> str:
        """`31.47 ± 0.52 (3)`, the count of values last; `31.47 (1)` for one."""
        spread = "" if self.half_width is None else f" ± {self.half_width:.{decimals}f}"
        return f"{self.mean:.{decimals}f}{spread} ({self.count})"


@dataclass(frozen=True)
class PairedDifference:
    """A mean difference over pairs that share all but the method, and its two-sided sign-flip p-value."""

    summary: Summary
    p_value: float


def summarise(values: Sequence[float]) -> Summary:
    """The mean and its 95% interval by Student's t, which supposes that values of different seeds scatter normally."""
    count, mean = len(values), statistics.fmean(values)
    if count < 2:
        return Summary(mean, None, count)
    half_width = student_t_quantile(0.975, count - 1) * statistics.stdev(values) / math.sqrt(count)
    return Summary(mean, half_width, count)


def paired_difference(differences: Sequence[float]) -> PairedDifference:
    """The mean of paired differences, and how often random signs would give one as far from zero.

    All sign patterns are counted up to 16 pairs, and 65,536 drawn ones beyond that.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) <= EXACT_PAIRS:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(values))))
    else:
        signs = np.random.default_rng(0).choice((1.0, -1.0), size=(DRAWS, len(values)))
    means, observed = np.abs(signs @ values), abs(values.sum())
    p_value = float((means >= observed * (1 - 1e-12)).mean())
    return PairedDifference(summarise(differences), p_value)


def pairs_needed(level: float = 0.05) -> int:
    """The fewest pairs with which a two-sided sign-flip test can go below `level`: with n, its least value is 2/2^n."""
    return math.floor(math.log2(2 / level)) + 1


def student_t_quantile(share: float, freedom: int) -> float:
    """The value below which a Student t variable of `freedom` degrees lies with probability `share` (above 1/2).

    Its distribution function has a closed form for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and
    26.7.4), which is inverted by bisection.
    """
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if _probability_within(middle, freedom) < 2 * share - 1 else (low, middle)
    return (low + high) / 2


def _probability_within(t: float, freedom: int) -> float:
    """The probability that a Student t variable lies within ±`t`."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine, sine = math.cos(angle), math.sin(angle)
    term, total = (cosine, cosine) if freedom % 2 else (1.0, 1.0)
    for k in range(3 if freedom % 2 else 2, freedom - 1, 2):
        term *= cosine**2 * ((k - 1) / k)
        total += term
    if freedom % 2 == 0:
        return sine * total
    return 2 / math.pi * (angle + (sine * total if freedom > 1 else 0.0))
