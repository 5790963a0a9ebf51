"""Has luminance, or SSIM itself, converged? The rule behind `--ssim_remove_at auto`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from torch import Tensor

from nerf_ssim.errors import CheckpointError, ConfigError
from nerf_ssim.ops.number_kinds import real_number, whole_number

DEFAULT_TOLERANCE = 0.005
DEFAULT_PATIENCE = 20


class LuminanceConvergence:
    """Says when 1 - S1, the distance of mean luminance similarity from one, has come down and stayed.

    After n observations the window is the last w = max(patience, n/3) of them, so that the rule has no time scale of
    its own: a curve that takes ten times as long is judged ten times as late. 1 - S1 is smoothed exponentially with a
    memory of a quarter of the window (weights (1 - 1/m)^age, m = max(1, w/4), normalised over the observations so far).
    Call that e, its largest value yet the peak. Luminance has converged at an observation where both hold:

    1. it has moved or agrees: e is at most half the peak, or at most `AGREED`;
    2. it is flat: over the window, max e - min e is at most `tolerance` times (peak - e), the whole improvement so far
       (or `tolerance` times `AGREED`, where that is more).

    So SSIM stays about half as long again as luminance took. A field that still renders black is flat but has not
    moved; one on its way has moved but is not flat; batches that alternate between black and white backgrounds are not
    flat either. Luminance that agreed from the start, as in a fit that SSIM joins late, has converged after `patience`.
    All of this holds of structure S2 and of SSIM, S1 S2, where those are what it is shown, as `SsimSchedule` does.
    A NaN is no evidence and restarts the count.

    On exponential curves it decides after about nine time constants, when less than a thousandth is left. It was
    scored beside fixed iterations on rooms with TensoRF and DVGO and on pictures, by luminance and by SSIM, at most to
    3000 iterations: the tables of "auto" in docs/results-tables.md.

    Args:
        tolerance: share of the improvement, in (0, 1).
        patience: the least window, >= 1. An observation is an iteration with SSIM on.
    Raises:
        ConfigError: an option out of range; at an observation, something that is not one number.
    Source: this project; no paper has this rule.
    """

    AGREED = 0.1
    """1 - S1 under which luminance agrees, whatever it was before."""

    def __init__(self, tolerance: float = DEFAULT_TOLERANCE, patience: int = DEFAULT_PATIENCE) -> None:
        share = real_number(tolerance)
        if share is None or not 0 < share < 1:
            raise ConfigError(f"ssim_auto_tolerance: {tolerance!r} is not between 0 and 1; it is a share, as 0.005 is.")
        least = whole_number(patience)
        if least is None or least < 1:
            raise ConfigError(f"ssim_auto_patience: {patience!r} is not a whole number of at least 1.")
        self.tolerance, self.patience = share, least
        self._weighted, self._weight, self._peak = 0.0, 0.0, 0.0
        self._history: list[float] = []

    @property
    def smoothed(self) -> float | None:
        """Smoothed 1 - S1, or None before the first observation."""
        return self._history[-1] if self._history else None

    def observe(self, luminance: Tensor | float) -> bool:
        """Take the mean S1 of one iteration, a number or a tensor of one; True where luminance has converged."""
        luminance = one_number(luminance, "LuminanceConvergence.observe")
        if not math.isfinite(luminance):
            self._history.clear()
            return False
        window = max(self.patience, len(self._history) // 3)
        keep = 1 - 1 / max(1.0, window / 4)
        self._weighted = keep * self._weighted + (1 - luminance)
        self._weight = keep * self._weight + 1
        now = self._weighted / self._weight
        self._peak = max(self._peak, now)
        self._history.append(now)
        if len(self._history) <= self.patience or now > max(self._peak / 2, self.AGREED):
            return False
        recent = self._history[-window - 1 :]
        return max(recent) - min(recent) <= self.tolerance * max(self._peak - now, self.AGREED)

    def state_dict(self) -> dict[str, object]:
        """Plain values from which `load_state_dict` continues exactly."""
        return {
            "weighted": self._weighted,
            "weight": self._weight,
            "peak": self._peak,
            "recent": list(self._history),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`'s values; a key missing or of another kind is a CheckpointError."""
        try:
            values = [float(state[name]) for name in ("weighted", "weight", "peak")]
            recent = [float(value) for value in state["recent"]]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"SSIM schedule: the monitor's state is not readable ({error!r}).") from error
        self._weighted, self._weight, self._peak = values
        self._history = recent


def one_number(value: object, where: str) -> float:
    """`value` as a float: a number, also one that is not finite, or a tensor or array of one element.

    Raises:
        ConfigError: it is something else; `where` it was given is named.
    """
    if isinstance(value, Real) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value.detach())
    if isinstance(value, np.ndarray) and value.size == 1:
        return float(value.item())
    kind = f"tensor of {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
    raise ConfigError(f"{where}: a {kind} is not one number; give the mean over all windows.")
