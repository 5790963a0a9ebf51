"""The table of a sweep under way: redrawn in place on a terminal, a line an event elsewhere."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

from nerf_ssim.experiments.sweep.hours import Rates
from nerf_ssim.experiments.sweep.runs import PlannedRun
from nerf_ssim.experiments.sweep.scheduler import Job
from nerf_ssim.experiments.sweep.state import Standing

__all__ = ["LiveTable", "format_hours", "plan_lines"]

COLUMNS = "{index:>5}  {state:<9}  {updates:>15}  {rate:>10}  {left:>8}  {psnr:>6}  {title}"
HEADER = COLUMNS.format(index="run", state="state", updates="updates", rate="rate", left="left", psnr="PSNR", title="")
ORDER = ("running", "elsewhere", "failed", "stopped", "waiting", "done")


class LiveTable:
    """Shows how jobs stand whenever it is asked to, as often as is worth it.

    Args:
        jobs: of the sweep.
        stated: rates that the sweep's file says, for the time left.
        slots: runs at a time.
        file: where to.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        stated: Mapping[str, float],
        slots: int,
        file: TextIO,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs, self._stated, self._slots, self._file, self._clock = jobs, stated, slots, file, clock
        self._is_terminal = file.isatty()
        self._every = 1.0 if self._is_terminal else 60.0
        self._shown_at, self._lines = float("-inf"), 0
        self._states = {job.run: job.state for job in jobs}

    def show(self, *, is_last: bool = False) -> None:
        """Shows what has changed, and the whole every second (on a terminal) or minute."""
        if not self._is_terminal:
            self._print_events()
        if not is_last and self._clock() - self._shown_at < self._every:
            return
        self._shown_at = self._clock()
        for job in self._jobs:
            if job.state in ("running", "elsewhere"):
                job.look()
        lines = self.lines(shutil.get_terminal_size().lines - 2 if self._is_terminal else len(self._jobs))
        if self._is_terminal and self._lines:
            self._file.write(f"\x1b[{self._lines}A\x1b[J")
        self._file.write("\n".join(lines) + "\n")
        self._file.flush()
        self._lines = len(lines)

    def lines(self, height: int) -> list[str]:
        """The table in at most `height` lines: what goes on and what failed before what waits and what is done."""
        rates = Rates({job.run: job.standing for job in self._jobs}, self._stated)
        counts = Counter[str](job.state for job in self._jobs)
        states = ", ".join(f"{counts[state]} {state}" for state in ORDER if counts[state])
        left = [rates.seconds_left(job.run, job.standing) for job in self._jobs if job.state not in ("done", "failed")]
        known = [seconds for seconds in left if seconds is not None]
        at_least = "at least " if len(known) < len(left) else ""
        lines = [f"{len(self._jobs)} runs: {states}; left {at_least}{format_hours(sum(known) / self._slots)}", HEADER]
        if not self._is_terminal:
            shown = [job for job in self._jobs if job.state in ("running", "elsewhere", "failed")]
        else:
            shown = sorted(self._jobs, key=lambda job: ORDER.index(job.state))[: max(height - len(lines), 1)]
        return lines + [_line(job.run, job.standing, job.state, rates, job.note) for job in shown]

    def _print_events(self) -> None:
        for job in self._jobs:
            if job.state != self._states[job.run]:
                self._states[job.run] = job.state
                psnr = "" if job.standing.psnr is None else f", {job.standing.psnr:.2f} dB"
                words = f": {job.note}" if job.note else ""
                self._file.write(f"{job.state:<9}  {job.run.title} ({job.standing.updates} updates{psnr}){words}\n")
        self._file.flush()


def plan_lines(standings: Mapping[PlannedRun, Standing], stated: Mapping[str, float], slots: int) -> list[str]:
    """Every run with the hours that it will take, and their sum."""
    rates = Rates(standings, stated)
    left = {run: rates.seconds_left(run, standing) for run, standing in standings.items()}
    lines = [HEADER, *(_line(run, standing, standing.state, rates, "") for run, standing in standings.items())]
    known = [seconds for seconds in left.values() if seconds is not None]
    total = f"{len(left)} runs, {sum(standing.state == 'done' for standing in standings.values())} done"
    hours = f"{format_hours(sum(known) / slots)} left, {slots} at a time"
    if len(known) < len(left):
        hours += f", without {len(left) - len(known)} runs of kinds that have not been timed yet"
    return [*lines, f"{total}; {hours}. Times are of training, without scoring."]


def format_hours(seconds: float) -> str:
    """Such as `3.4 h` or `12 min`."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


def _line(run: PlannedRun, standing: Standing, state: str, rates: Rates, note: str) -> str:
    left = rates.seconds_left(run, standing)
    rate = standing.rate
    return COLUMNS.format(
        index=run.index,
        state=state,
        updates=f"{standing.updates}/{run.updates}",
        rate="" if not rate else f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s",
        left="?" if left is None else "" if state == "done" else format_hours(left),
        psnr="" if standing.psnr is None else f"{standing.psnr:.2f}",
        title=f"{run.title}  {note}".rstrip(),
    )
