"""Takes every run of a sweep to its end: skips what is finished, goes on with what has begun, tries a crash again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TextIO

from nerf_ssim.errors import TrainingError
from nerf_ssim.experiments.sweep.runs import PlannedRun
from nerf_ssim.experiments.sweep.state import Standing, standing_of
from nerf_ssim.runs.interrupts import SIGNALS, GracefulStop
from nerf_ssim.runs.lock import lock_folder

__all__ = ["CLAIM", "Attempt", "Engine", "Job", "carry_out", "is_held"]

CLAIM = ".sweep.lock"
"""The file that a sweep locks in the folder of a run that it starts; the run itself locks another one."""

USER_ERROR = 2
INTERRUPTED = tuple(128 + number for number in SIGNALS)

JobState = Literal["waiting", "running", "elsewhere", "done", "failed", "stopped"]


class Attempt(Protocol):
    """One start of a run."""

    def poll(self) -> int | None:
        """The exit code, negative for a signal that killed it; None while it goes on."""

    def send_signal(self, number: int) -> None:
        """Passes a signal on, so that the run saves and stops."""

    def last_words(self) -> str:
        """The last line that it printed."""


class Engine(Protocol):
    """What starts runs.

    Attributes:
        claims: whether this process takes a run's folder before it is started there; an engine of other machines leaves
            that to them.
    """

    claims: bool

    @property
    def slots(self) -> int:
        """How many it carries out at a time."""

    def start(self, run: PlannedRun) -> Attempt:
        """Starts a run, or goes on with it."""

    def close(self) -> None:
        """Gives back what the engine holds."""


@dataclass(eq=False)
class Job:
    """A run on its way.

    Attributes:
        state: see `JobState`; `elsewhere` is a run that another process is at.
        standing: what its folder said last.
        starts: how often it was started here.
        note: why it failed.
    """

    run: PlannedRun
    standing: Standing
    state: JobState = "waiting"
    starts: int = 0
    note: str = ""
    attempt: Attempt | None = None
    claim: TextIO | None = None
    not_before: float = 0.0

    def look(self) -> Standing:
        """Reads its folder again."""
        self.standing = standing_of(self.run)
        return self.standing


def carry_out(
    jobs: Sequence[Job],
    engine: Engine,
    stop: GracefulStop,
    *,
    retries: int,
    report: Callable[[], None] = lambda: None,
    pause: float = 0.25,
    pause_elsewhere: float = 5.0,
) -> None:
    """Runs every job that is not done until none is left, or until `stop` is requested and the running ones have saved.

    A run that another process is at is looked at again every `pause_elsewhere` seconds: it is done in the end, or it is
    free because that process was killed, and goes on here.

    Args:
        jobs: in the order in which they are worth starting.
        retries: how often a run that crashed is started again; one that ended with an error for people is not.
        report: called after each round.
        pause: seconds between rounds.
    """
    is_told = False
    while True:
        for job in jobs:
            if job.state == "running" and job.attempt is not None and (code := job.attempt.poll()) is not None:
                _end(job, code, retries)
        running = [job for job in jobs if job.state == "running"]
        if stop.requested is not None and not is_told:
            is_told = True
            for job in running:
                assert job.attempt is not None
                job.attempt.send_signal(stop.requested)
        if stop.requested is None:
            _start_some(jobs, engine, engine.slots - len(running), pause_elsewhere)
        report()
        is_over = all(job.state in ("done", "failed", "stopped") for job in jobs)
        if is_over or (stop.requested is not None and not any(job.state == "running" for job in jobs)):
            return
        time.sleep(pause)


def is_held(run: PlannedRun, name: str = ".lock") -> bool:
    """Whether a process holds the lock `name` of the run's folder."""
    if not (run.folder / name).exists():
        return False
    try:
        lock_folder(run.folder, name).close()
    except TrainingError:
        return True
    return False


def _start_some(jobs: Sequence[Job], engine: Engine, free: int, pause_elsewhere: float) -> None:
    now = time.monotonic()
    for job in jobs:
        if free <= 0:
            return
        if job.state not in ("waiting", "elsewhere") or job.not_before > now:
            continue
        if _claim(job, engine, now + pause_elsewhere):
            job.attempt, job.state, job.starts = engine.start(job.run), "running", job.starts + 1
            free -= 1


def _claim(job: Job, engine: Engine, not_before: float) -> bool:
    """Takes the run's folder for this process; False where there is nothing to start now."""
    if engine.claims:
        try:
            job.claim = lock_folder(job.run.folder, CLAIM)
        except TrainingError:
            job.state, job.not_before = "elsewhere", not_before
            return False
        if is_held(job.run):  # a run that was started by hand, or that outlived the sweep which started it
            _release(job)
            job.state, job.not_before = "elsewhere", not_before
            return False
    if job.look().state == "done":  # by another process, since it was looked at last
        _release(job)
        job.state = "done"
        return False
    return True


def _release(job: Job) -> None:
    if job.claim is not None:
        job.claim.close()
        job.claim = None


def _end(job: Job, code: int, retries: int) -> None:
    """What becomes of a job whose attempt has ended."""
    assert job.attempt is not None
    words, job.attempt = job.attempt.last_words(), None
    standing = job.look()
    was_taken = code == USER_ERROR and is_held(job.run)
    _release(job)
    if standing.state == "done":
        job.state = "done"
    elif was_taken:
        job.state = "elsewhere"
    elif code in INTERRUPTED:
        job.state = "stopped"
    elif code == USER_ERROR:
        job.state, job.note = "failed", words or "ended with an error"
    elif job.starts <= retries:
        job.state = "waiting"
    else:
        job.state = "failed"
        job.note = f"crashed {job.starts} times, at last with exit code {code}" + (f": {words}" if words else "")
