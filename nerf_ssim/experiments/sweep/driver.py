"""A sweep from its definition to its tables: what `nerf-ssim sweep` and `nerf-ssim paper` do."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nerf_ssim.errors import ConfigError, TrainingError
from nerf_ssim.experiments.sweep.definition import Sweep
from nerf_ssim.experiments.sweep.live import LiveTable, plan_lines
from nerf_ssim.experiments.sweep.rows import Row, row_of, summary, write_rows
from nerf_ssim.experiments.sweep.runs import PlannedRun, make_rooms, refuse_missing_data
from nerf_ssim.experiments.sweep.scheduler import Engine, Job, carry_out
from nerf_ssim.experiments.sweep.state import refuse_other_runs, standing_of
from nerf_ssim.runs.interrupts import GracefulStop

__all__ = ["Outcome", "choose_run", "perform", "show_plan", "write_tables"]

SECONDS_BETWEEN_TABLES = 60.0


@dataclass(frozen=True)
class Outcome:
    """How a sweep ended: the exit code, 0 unless a signal stopped it, and a row for each of its runs."""

    exit_code: int
    rows: Sequence[Row]


def show_plan(sweep: Sweep, runs: Sequence[PlannedRun], slots: int) -> None:
    """Prints every run with its state and the time that it will take."""
    standings = {run: standing_of(run) for run in runs}
    print("\n".join(plan_lines(standings, sweep.seconds_per_update, slots)))


def choose_run(runs: Sequence[PlannedRun], index: int | None) -> list[PlannedRun]:
    """All runs, or the one with this index alone.

    Raises:
        ConfigError: there is none.
    """
    if index is not None and index >= len(runs):
        raise ConfigError(f"--index {index}: the sweep has {len(runs)} runs, 0 to {len(runs) - 1}")
    return list(runs) if index is None else [runs[index]]


def perform(
    sweep: Sweep, runs: Sequence[PlannedRun], engine: Engine, folder: Path, *, index: int | None, retries: int
) -> Outcome:
    """Carries out what is missing of a sweep, or its run `index` alone, and keeps its tables in `folder`.

    Returns:
        the exit code of the signal that stopped it, or 0, and the rows.
    Raises:
        ConfigError: a folder holds a run with other options.
        SceneError: a scene or a picture is not there.
        TrainingError: some run failed; which, and why, is in the message, and the others are done.
    """
    chosen = choose_run(runs, index)
    refuse_missing_data(chosen)
    jobs = [Job(run, standing_of(run)) for run in chosen]
    refuse_other_runs({job.run: job.standing for job in jobs})
    for job in jobs:
        job.state = "done" if job.standing.state == "done" else "waiting"
    for room in make_rooms(job.run for job in jobs if job.state != "done"):
        print(f"made the room {room}")
    live = LiveTable(jobs, sweep.seconds_per_update, engine.slots, sys.stderr)
    tables = _Tables(sweep, runs, folder)

    def report() -> None:
        live.show()
        if index is None:  # runs of a job array would write over each other's tables
            tables.write_if_due()

    try:
        with GracefulStop() as stop:
            carry_out(jobs, engine, stop, retries=retries, report=report)
    finally:
        engine.close()
    live.show(is_last=True)
    rows = write_tables(sweep, runs, folder)
    refuse_failures(jobs)
    if stop.requested is not None:
        print("stopped; the same command goes on")
    return Outcome(stop.exit_code, rows)


def refuse_failures(jobs: Sequence[Job]) -> None:
    """Raises `TrainingError` where a job has failed."""
    failed = [job for job in jobs if job.state == "failed"]
    if failed:
        first = failed[0]
        raise TrainingError(
            f"{len(failed)} of {len(jobs)} runs failed; {first.run.folder}: {first.note}. Their sweep.log says more; "
            "the same command tries them again"
        )


def write_tables(sweep: Sweep, runs: Sequence[PlannedRun], folder: Path) -> list[Row]:
    """Writes `runs.csv`, one row a run, and `table.md`, means over seeds, in the sweep's folder; returns the rows."""
    rows = [row_of(run) for run in runs]
    write_rows(rows, folder / "runs.csv")
    (folder / "table.md").write_text(summary(rows, sweep.best), encoding="utf-8")
    return rows


class _Tables:
    """Tables that are written now and then, so that a kill leaves those of a minute ago."""

    def __init__(self, sweep: Sweep, runs: Sequence[PlannedRun], folder: Path) -> None:
        self._sweep, self._runs, self._folder = sweep, runs, folder
        self._written = time.monotonic()

    def write_if_due(self) -> None:
        if time.monotonic() - self._written >= SECONDS_BETWEEN_TABLES:
            write_tables(self._sweep, self._runs, self._folder)
            self._written = time.monotonic()
