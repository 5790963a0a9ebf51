"""When the SSIM term is part of the loss: a function of the iteration, and of SSIM itself where asked."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from nerf_ssim.errors import CheckpointError, ConfigError
from nerf_ssim.ops.number_kinds import real_number, whole_number
from nerf_ssim.ops.ssim import SsimStatistics
from nerf_ssim.ssim.luminance import DEFAULT_PATIENCE, DEFAULT_TOLERANCE, LuminanceConvergence

RUN_SHARE = 150
"""The share of a run that "auto" looks at at least: 20 iterations of 3000, 200 of 30000."""

UNFED = 100
"""After so many iterations "auto" that has observed nothing warns: the loop does not call `observe`."""


WATCHED = {"luminance": "luminance", "structure": "structure", "ssim": "SSIM"}
"""What "auto" may look at, by its name among the statistics, and what it is called."""


class SsimSchedule:
    """SSIM is on for `add_at <= iteration < removal`, iterations counted from 0; off means not computed.

    Args:
        weight: of the term while it is on, >= 0; 0 is a run without SSIM.
        add_at: first iteration with SSIM.
        remove_at: first iteration without it; "end" never removes it; "auto" removes it after the first iteration at
            which what it watches has converged (see `LuminanceConvergence`).
        tolerance, patience: of "auto".
        length: updates that the run is laid out for, None where that is not known. "auto" looks at no fewer than
            `length / RUN_SHARE` iterations at a time, and is overdue where it has not decided in half of those left
            after `add_at`.
        starts_at: the iteration that `add_at`, `remove_at` and `removed_at` count from, the first of a run's last
            stage; SSIM is off before it.
        watches: what "auto" takes for converged, one of `WATCHED`: luminance S1, structure S2, or SSIM itself, S1 S2.
        part: what the term is made of, one of `parts.PARTS`, with its weights if it is a sum. It is recorded only.
    Raises:
        ConfigError: an option out of range, or `remove_at <= add_at`.
    Source: "Rethinking SSIM-Based Optimization in Neural Field Training"; "auto" is this project's own.
    Example:
        >>> schedule = SsimSchedule(weight=1.0, remove_at=70)
        >>> schedule.is_active(69), schedule.weight_at(70)
        (True, 0.0)
    """

    def __init__(
        self,
        weight: float = 1.0,
        add_at: int = 0,
        remove_at: str | int = "end",
        *,
        tolerance: float = DEFAULT_TOLERANCE,
        patience: int = DEFAULT_PATIENCE,
        length: int | None = None,
        starts_at: int = 0,
        part: str = "both",
        watches: str = "ssim",
    ) -> None:
        finite_weight, first, last = real_number(weight), whole_number(add_at), whole_number(remove_at)
        if finite_weight is None or finite_weight < 0:
            raise ConfigError(f"s3im_weight: {weight!r} is not a finite number of at least 0.")
        if first is None or first < 0:
            raise ConfigError(f"ssim_add_at: {add_at!r} is not an iteration (a whole number of at least 0).")
        if remove_at not in ("end", "auto") and last is None:
            raise ConfigError(f"ssim_remove_at: {remove_at!r} is not an iteration, 'auto' or 'end'.")
        if last is not None and last <= first:
            raise ConfigError(
                f"ssim_remove_at: {last} is not after ssim_add_at {first}, so SSIM would never be on; "
                "for that, give --s3im_weight 0."
            )
        self.weight, self.add_at, self.remove_at = finite_weight, first, remove_at if last is None else last
        self.starts_at, self.part = starts_at, part
        if watches not in WATCHED:
            raise ConfigError(f"ssim_auto_watches: {watches!r} is none of {', '.join(WATCHED)}.")
        self.length, self.watches = length, watches
        least = patience if length is None else max(patience, math.ceil(length / RUN_SHARE))
        self.convergence = LuminanceConvergence(tolerance, least)
        self._removed_at = last
        self._was_fed = False

    @property
    def removed_at(self) -> int | None:
        """First iteration without SSIM: the one given, the one "auto" chose, or None while there is none."""
        return self._removed_at

    def is_active(self, iteration: int) -> bool:
        """Whether SSIM is to be computed at this iteration."""
        count = iteration - self.starts_at
        has_been_removed = self._removed_at is not None and count >= self._removed_at
        return self.weight > 0 and count >= self.add_at and not has_been_removed

    def weight_at(self, iteration: int) -> float:
        """The term's weight in the loss of this iteration, 0.0 where it is off.

        "auto" that was never shown what it decides by warns once, `UNFED` iterations after it was added.
        """
        if not self.is_active(iteration):
            return 0.0
        if self.remove_at == "auto" and not self._was_fed and iteration >= self.starts_at + self.add_at + UNFED:
            self._was_fed = True  # once is enough
            warnings.warn(
                "SsimSchedule: remove_at='auto' removes SSIM by what it is shown, and has been shown nothing; after "
                "each iteration call schedule.observe(iteration, s3im.evaluate(rendered, target).statistics)",
                stacklevel=2,
            )
        return self.weight

    def observe(self, iteration: int, statistics: SsimStatistics | Tensor | float) -> bool:
        """Take the statistics of an iteration; True where they end SSIM (from the next iteration on).

        Only "auto" looks at them, and only while SSIM is on; anything else returns False without reading the tensor.

        Args:
            statistics: as `S3IM.evaluate` and `ssim_with_statistics` return them, or the mean of
                what is watched alone: SSIM, where nothing else is asked for.
        Raises:
            ConfigError: it is another result of theirs, or more than one number.
        """
        if self.remove_at != "auto" or not self.is_active(iteration):
            return False
        self._was_fed = True
        if self.convergence.observe(self._watched(statistics)):
            self._removed_at = int(iteration) - self.starts_at + 1
            return True
        return False

    def _watched(self, statistics: SsimStatistics | Tensor | float) -> Tensor | float:
        """What is watched, of the statistics or given alone; other results of the same functions are refused."""
        if isinstance(statistics, SsimStatistics):
            return getattr(statistics, self.watches)
        if isinstance(statistics, tuple):
            raise ConfigError(
                f"SsimSchedule.observe: a {type(statistics).__name__} holds more than statistics; give the "
                "`statistics` of S3IM.evaluate, or the second result of ssim_with_statistics."
            )
        return statistics

    def is_overdue(self, iteration: int) -> bool:
        """Whether "auto" has let half of its updates go by at just this iteration, and has not decided."""
        if self.remove_at != "auto" or self.length is None or not self.is_active(iteration):
            return False
        return iteration - self.starts_at + 1 == self.add_at + math.ceil((self.length - self.add_at) / 2)

    def overdue_note(self) -> str:
        """What to tell people then."""
        return (
            f"{WATCHED[self.watches]} has not converged in half of the run: SSIM stays on until it does; give "
            "--ssim_remove_at a number, or end, to decide yourself"
        )

    def summary(self) -> dict[str, float | int | str | None]:
        """The term as results record it: `part`, `weight`, `add_at`, `remove_at`, and `removed_at` as it came out."""
        return {
            "part": self.part,
            "weight": self.weight,
            "add_at": self.add_at,
            "remove_at": self.remove_at,
            "removed_at": self.removed_at,
        }

    def state_dict(self) -> dict[str, object]:
        """What a restart needs beyond the options, in plain values."""
        return {"removed_at": self._removed_at, "convergence": self.convergence.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken. A schedule that is not "auto" keeps to its own options.

        Raises:
            CheckpointError: keys missing or of another kind.
        """
        try:
            removed_at, convergence = state["removed_at"], state["convergence"]
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"SSIM schedule: the checkpoint's state is not readable ({error!r}).") from error
        if removed_at is not None and whole_number(removed_at) is None:
            raise CheckpointError(f"SSIM schedule: the checkpoint's removed_at is {removed_at!r}, not an iteration.")
        if self.remove_at == "auto":
            self._removed_at = removed_at
            self.convergence.load_state_dict(convergence)
            self._was_fed = True
