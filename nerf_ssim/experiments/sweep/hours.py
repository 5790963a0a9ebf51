"""How long runs will take, from the rates at which runs like them went."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping

from nerf_ssim.experiments.sweep.runs import PlannedRun
from nerf_ssim.experiments.sweep.state import Standing

__all__ = ["Rates"]

LIKENESS = (("scene", "model", "schedule"), ("model", "schedule"), ("scene", "model"), ("model",))
"""What two runs have in common for the time of one to speak for the other, the closest first."""

MIN_UPDATES = 10


class Rates:
    """Seconds of training per update, by kind of run: measured in this sweep, else what the sweep's file says.

    Args:
        standings: of every run.
        stated: seconds per update by model; under "" for any model.
    """

    def __init__(self, standings: Mapping[PlannedRun, Standing], stated: Mapping[str, float]) -> None:
        self._stated = stated
        measured: dict[tuple[str, ...], list[float]] = {}
        for run, standing in standings.items():
            if standing.updates >= MIN_UPDATES and standing.seconds > 0:
                for axes in LIKENESS:
                    measured.setdefault(_kind(run, axes), []).append(standing.seconds / standing.updates)
        self._measured = {kind: statistics.fmean(rates) for kind, rates in measured.items()}

    def seconds_left(self, run: PlannedRun, standing: Standing) -> float | None:
        """Of training, for a run that stands so; None where nothing like it has been measured."""
        if standing.state == "done":
            return 0.0
        left = max(run.updates - standing.updates, 0)
        if standing.updates >= MIN_UPDATES and standing.rate:
            return left / standing.rate
        pace = self._pace(run)
        return None if pace is None else left * pace

    def _pace(self, run: PlannedRun) -> float | None:
        kinds = (_kind(run, axes) for axes in LIKENESS)
        measured = next((self._measured[kind] for kind in kinds if kind in self._measured), None)
        stated = self._stated.get(run.names["model"], self._stated.get(""))
        return stated if measured is None else measured


def _kind(run: PlannedRun, axes: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{axis}={run.names[axis]}" for axis in axes)
