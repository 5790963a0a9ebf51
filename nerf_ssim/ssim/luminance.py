"""Has luminance converged? The rule behind `--ssim_remove_at auto`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nerf_ssim.errors import CheckpointError, ConfigError

DEFAULT_TOLERANCE = 0.02
DEFAULT_PATIENCE = 20


class LuminanceConvergence:
    """Says when 1 - S1, the distance of mean luminance similarity from one, has come down and flattened.

    1 - S1 is smoothed exponentially with a memory of half the patience (weights (1 - 1/m)^age, m = max(1, patience/2),
    normalised over the observations so far). Call that e, its largest value yet the peak. Luminance has converged at
    an observation where both hold:

    1. it has moved: e is at most half the peak, or at most 0.001 (luminance that agreed from the start);
    2. it is flat: over the last `patience + 1` values, max e - min e is at most `tolerance` times (peak - e), the whole
       improvement so far (or at most `tolerance` * 0.001 for luminance that agreed from the start).

    A field that still renders black is flat but has not moved; one on its way has moved but is not flat; batches that
    alternate between black and white backgrounds are not flat either. A NaN is no evidence and restarts the window.

    Args:
        tolerance: share of the improvement, in (0, 1).
        patience: observations over which e must be flat, >= 1. An observation is an iteration with SSIM on.
    """

    def __init__(self, tolerance: float = DEFAULT_TOLERANCE, patience: int = DEFAULT_PATIENCE) -> None:
        if not 0 < tolerance < 1:
            raise ConfigError(f"ssim_auto_tolerance: {tolerance!r} is not between 0 and 1; it is a share, as 0.02 is.")
        if not isinstance(patience, int) or patience < 1:
            raise ConfigError(f"ssim_auto_patience: {patience!r} is not a whole number of at least 1.")
        self.tolerance, self.patience = tolerance, patience
        self._memory = max(1.0, patience / 2)
        self._weighted, self._weight, self._peak = 0.0, 0.0, 0.0
        self._recent: list[float] = []

    AGREED = 1e-3
    """1 - S1 under which luminance agrees, whatever it was before."""

    @property
    def smoothed(self) -> float | None:
        """Smoothed 1 - S1, or None before the first observation."""
        return self._recent[-1] if self._recent else None

    def observe(self, luminance: float) -> bool:
        """Take the mean S1 of one iteration; True where luminance has converged."""
        if not math.isfinite(luminance):
            self._recent.clear()
            return False
        keep = 1 - 1 / self._memory
        self._weighted = keep * self._weighted + (1 - luminance)
        self._weight = keep * self._weight + 1
        now = self._weighted / self._weight
        self._peak = max(self._peak, now)
        self._recent = [*self._recent[-self.patience :], now]
        has_moved = now <= max(self._peak / 2, self.AGREED)
        spread = max(self._recent) - min(self._recent)
        is_flat = spread <= self.tolerance * max(self._peak - now, self.AGREED)
        return len(self._recent) > self.patience and has_moved and is_flat

    def state_dict(self) -> dict[str, object]:
        """Plain values from which `load_state_dict` continues exactly."""
        return {
            "weighted": self._weighted,
            "weight": self._weight,
            "peak": self._peak,
            "recent": list(self._recent),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`'s values; a key missing or of another kind is a CheckpointError."""
        try:
            values = [float(state[name]) for name in ("weighted", "weight", "peak")]
            recent = [float(value) for value in state["recent"]]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"SSIM schedule: the monitor's state is not readable ({error!r}).") from error
        self._weighted, self._weight, self._peak = values
        self._recent = recent
