"""The finished runs of a sweep as tables and figures take them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nerf_ssim.errors import TrainingError
from nerf_ssim.experiments.report.layout import metrics_columns
from nerf_ssim.experiments.sweep.runs import PlannedRun
from nerf_ssim.experiments.sweep.state import read_json, standing_of

__all__ = ["Finished", "by_scene", "finished_of", "moment_of", "schedule_colors"]


@dataclass(frozen=True)
class Finished:
    """A run that is done, and its `results.json`."""

    run: PlannedRun
    results: Mapping[str, Any]

    @property
    def scene(self) -> str:
        """Of the scene or the picture, the name."""
        return self.run.names["scene"]

    @property
    def schedule(self) -> str:
        """The name of its schedule, or method."""
        return self.run.names["schedule"]

    @property
    def folder(self) -> Path:
        """Where its log is: of a search for a rate, the folder of its best fit."""
        return self.run.folder / str(self.results.get("fit", ""))

    def curve(self, column: str) -> list[tuple[float, float]]:
        """(updates, value) wherever the column of `metrics.csv` has a value."""
        columns = metrics_columns(self.folder)
        after_row = 0 if self.run.command == "fit-image" else 1
        pairs = zip(columns.get("iteration", []), columns.get(column, []), strict=False)
        return [(step + after_row, value) for step, value in pairs if step is not None and value is not None]


def finished_of(runs: Iterable[PlannedRun]) -> list[Finished]:
    """Those runs that are done.

    Raises:
        TrainingError: none is.
    """
    done = [Finished(run, read_json(run.folder / "results.json")) for run in runs if standing_of(run).state == "done"]
    if not done:
        raise TrainingError("no run is finished; give the command without --draw_only")
    return done


def by_scene(finished: Iterable[Finished]) -> dict[str, dict[str, list[Finished]]]:
    """By scene and by schedule, the runs of each seed, in the order of the sweep."""
    found: dict[str, dict[str, list[Finished]]] = {}
    for one in finished:
        found.setdefault(one.scene, {}).setdefault(one.schedule, []).append(one)
    return found


def moment_of(schedule: str, kind: str) -> int | None:
    """M of `remove_M` or `add_M`; None for a schedule of another kind."""
    word, _, at = schedule.rpartition("_")
    return int(at) if word == kind and at.isdecimal() else None


def schedule_colors(schedules: Sequence[str], pyplot: Any) -> dict[str, Any]:
    """The schedules in order, w/o and w/ first, removals blue and additions orange, the later the darker."""
    colors = {name: color for name, color in (("without", "black"), ("with", "grey")) if name in schedules}
    for kind, scale in (("remove", pyplot.cm.Blues), ("add", pyplot.cm.Oranges)):
        moments = sorted(at for name in schedules if (at := moment_of(name, kind)) is not None)
        names = [f"{kind}_{at}" for at in moments]
        colors |= {name: scale(0.35 + 0.65 * (number + 1) / len(names)) for number, name in enumerate(names)}
    others = [name for name in schedules if name not in colors]
    colors |= {name: pyplot.cm.tab10(number % 10) for number, name in enumerate(others)}
    return colors
