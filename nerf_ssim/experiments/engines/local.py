"""Runs as processes of this machine, each with its share of the cores."""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nerf_ssim.experiments.sweep.runs import PlannedRun

__all__ = ["LOG", "ChildProcess", "LocalEngine", "child_environment", "package_paths", "usable_cores"]

LOG = "sweep.log"
"""What the processes of a run print, in its folder, one start after the other."""

PR_SET_PDEATHSIG = 1
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


class ChildProcess:
    """A run's process, in a session of its own: the terminal's Ctrl-C reaches the sweep alone, which passes it on.

    On Linux the run is told to save and stop when the sweep dies, however it dies.

    Args:
        words: after `nerf-ssim`.
        log: what it prints is appended here.
        environment: of the process.
        nice: added to its niceness.
        folder: where it starts; None for this process's.
    """

    def __init__(
        self,
        words: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str],
        nice: int = 0,
        folder: Path | None = None,
    ) -> None:
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as output:
            output.write(f"$ nerf-ssim {shlex.join(words)}\n".encode())
            output.flush()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "nerf_ssim.cli.main", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
                preexec_fn=_before_exec(nice) if os.name == "posix" else None,
            )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code, negative for a signal that killed it; None while it goes on."""
        return self._process.poll()

    def send_signal(self, number: int) -> None:
        """Passes a signal on."""
        self._process.send_signal(number)

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self._log.read_bytes()[-4096:].decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


class LocalEngine:
    """Carries out `slots` runs at a time.

    Args:
        slots: how many.
        nice: added to the niceness of each.
        cores: that one run takes; None for an equal share of those there are.
    """

    claims = True

    def __init__(self, slots: int, *, nice: int = 0, cores: float | None = None) -> None:
        self.slots, self._nice = slots, nice
        self.threads = max(1, round(cores) if cores else usable_cores() // slots)

    def start(self, run: PlannedRun) -> ChildProcess:
        """Starts a run, or goes on with it."""
        environment = child_environment(self.threads)
        return ChildProcess(run.words(), run.folder / LOG, environment=environment, nice=self._nice)

    def close(self) -> None:
        """Nothing is held."""


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def child_environment(threads: int) -> dict[str, str]:
    """This process's environment, for a child with so many threads that finds the package where this process did."""
    return {**os.environ, **dict.fromkeys(THREADS, str(threads)), "PYTHONPATH": package_paths()}


def package_paths() -> str:
    """`PYTHONPATH` with the folder that this process has the package from in front."""
    package = str(Path(__file__).resolve().parents[3])
    return os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])


def _before_exec(nice: int) -> Callable[[], None]:
    """What a child does between fork and exec; all that it needs is loaded before the fork."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
    parent = os.getpid()

    def prepare() -> None:
        if nice:
            os.nice(nice)
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # it died before it could be watched
                os._exit(128 + signal.SIGTERM)

    return prepare
