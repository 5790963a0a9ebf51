"""The command line in a forked child: what it printed, how it ended, how long it took and how much memory it had."""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from nerf_ssim.cli.main import main

TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        code: its exit status; negative for a signal, None where it was still running after the time allowed.
        out, err: what it printed.
        seconds: how long it ran.
        megabytes: the most memory that it held.
    """

    code: int | None
    out: str
    err: str
    seconds: float
    megabytes: float

    @property
    def line(self) -> str:
        """The last line on standard error."""
        return (self.err.strip().splitlines() or [""])[-1]

    def problem(self) -> str | None:
        """Why this is no answer to bad input; None where it is one: status 2 and one line that begins as it should."""
        if self.code is None:
            return f"still running after {self.seconds:.0f} s"
        if TRACEBACK in self.err or TRACEBACK in self.out:
            return f"a traceback: {self.line}"
        if self.code != 2:
            return f"exit status {self.code}: {self.line}"
        complaints = [line for line in self.err.splitlines() if line.startswith("nerf-ssim: ")]
        return None if len(complaints) == 1 and self.line == complaints[0] else f"no single line: {self.err[-300:]!r}"


def run(
    words: Sequence[object],
    *,
    seconds: float = 60.0,
    prepare: Callable[[], None] = lambda: None,
    act: Callable[[], int] | None = None,
) -> Ended:
    """Runs `nerf-ssim` with `words` in a forked child, which needs no second to import anything.

    Args:
        words: after `nerf-ssim`.
        seconds: after which the child is killed.
        prepare: called in the child, before the command.
        act: called in place of the command; returns the exit status.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sys.stdout.flush()
        sys.stderr.flush()
        started = time.monotonic()
        child = os.fork()
        if not child:
            _be_the_child([str(word) for word in words], out.fileno(), err.fileno(), prepare, act)
        status, usage = _wait(child, seconds)
        taken = time.monotonic() - started
        texts = [os.pread(file.fileno(), 1 << 20, 0).decode(errors="replace") for file in (out, err)]
    code = None if status is None else os.waitstatus_to_exitcode(status)
    return Ended(code, texts[0], texts[1], taken, usage.ru_maxrss / 1024)


def _be_the_child(
    words: list[str], out: int, err: int, prepare: Callable[[], None], act: Callable[[], int] | None
) -> None:
    code = 99
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout = open(1, "w", buffering=1, closefd=False)
        sys.stderr = open(2, "w", buffering=1, closefd=False)
        torch.set_num_threads(1)
        prepare()
        code = main(words) if act is None else act()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _wait(child: int, seconds: float) -> tuple[int | None, resource.struct_rusage]:
    deadline = time.monotonic() + seconds
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            return status, usage
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            _, _, usage = os.wait4(child, 0)
            return None, usage
        time.sleep(0.002)


def limit_file_size(size: int) -> None:
    """In a child: no file may grow past `size` bytes, as on a full disk (EFBIG in place of ENOSPC)."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def tree(folder: Path) -> list[str]:
    """What is in a folder, all the way down."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
