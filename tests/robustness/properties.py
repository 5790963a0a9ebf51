"""How many inputs a property is tried on: the same ones each time, more with `ROBUSTNESS_EXAMPLES`, a factor."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

FACTOR = float(os.environ.get("ROBUSTNESS_EXAMPLES", "1"))


def examples(count: int) -> settings:
    """Settings of a property test of `count` inputs; with a factor other than 1 they are drawn anew at every run."""
    return settings(
        max_examples=max(1, int(count * FACTOR)),
        derandomize=FACTOR == 1,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
