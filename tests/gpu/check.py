"""`make gpu-check`: whether the CUDA kernels build, are right and how long they take, as one page to paste.

    python -m tests.gpu.check [--device cuda:1] [--minutes 8] [--output build/gpu-check.txt]

It needs no network: this Python with PyTorch, what the package needs, pytest, and nvcc where the kernels are not built.
Stages run in the order of their weight, each in a process of its own, and the page is written as it goes: whatever
crashes, hangs or runs out of time costs only itself. With `--device cpu` everything that can run there runs on small
sizes, to see the check itself at work.

The exit code is 0 where all of the first stages passed, 1 where one failed, and 2 where there is nothing to check: no
GPU, or no kernels for it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PASSED, FAILED, NOTHING_TO_CHECK = 0, 1, 2
LEAST_SECONDS = 5  # a stage with less time is left out


@dataclass(frozen=True)
class Stage:
    """A part of the check: its name, the most seconds that it may take, and whether the exit code depends on it.

    `is_condition` says that without it nothing else can be checked.
    """

    name: str
    seconds: int
    decides: bool = True
    is_condition: bool = False


STAGES = (
    Stage("machine", 90, is_condition=True),
    Stage("extension", 240, is_condition=True),
    Stage("kernels", 60),
    Stage("tests", 150),
    Stage("tensorf", 60, decides=False),
    Stage("dvgo", 60, decides=False),
    Stage("ssim", 40, decides=False),
    Stage("precisions", 60, decides=False),
)


def main(words: Sequence[str]) -> int:
    """Run all stages, write the page, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.check", description=__doc__, allow_abbrev=False)
    parser.add_argument("--device", default="cuda", help="which GPU; cpu rehearses the check (default %(default)s)")
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything (default %(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "gpu-check.txt", help="the page")
    args = parser.parse_args(words)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with args.output.open("w", encoding="utf-8") as page:
        return check(STAGES, args.device, time.monotonic() + 60 * args.minutes, Page(page))


class Page:
    """The report, on standard output and in a file, line by line as it comes."""

    def __init__(self, file) -> None:  # type: ignore[no-untyped-def]  # any text file
        self.file = file

    def add(self, line: str) -> None:
        """Writes a line, which is there whatever happens next."""
        print(line, flush=True)
        self.file.write(line + "\n")
        self.file.flush()


def check(stages: Sequence[Stage], device: str, end: float, page: Page) -> int:
    """Runs the stages until `end` (of `time.monotonic`) and returns the exit code."""
    failed, left_out = [], []
    for stage in stages:
        seconds = min(float(stage.seconds), end - time.monotonic())
        if seconds < LEAST_SECONDS:
            left_out.append(stage.name)
            continue
        started = time.monotonic()
        page.add(f"== {stage.name}")
        problem = run_stage(stage.name, device, seconds, page)
        page.add(f"-- {stage.name}: {problem or 'ok'} ({time.monotonic() - started:.0f} s)")
        if problem and stage.is_condition:
            page.add(f"nothing more can be checked without this stage: {stage.name}")
            return NOTHING_TO_CHECK
        if problem and stage.decides:
            failed.append(stage.name)
    if left_out:
        page.add(f"no time was left for: {', '.join(left_out)}")
    page.add(f"failed: {', '.join(failed)}" if failed else "passed")
    return FAILED if failed else PASSED


def run_stage(name: str, device: str, seconds: float, page: Page) -> str:
    """Runs a stage in a process of its own, whose lines go to the page; what went wrong, or ""."""
    command = [sys.executable, "-m", "tests.gpu.stages", name, device]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
        )
        status = listened_to(process, time.monotonic() + seconds, page)
        errors.seek(0)
        last_words = [line for line in errors.read().splitlines() if line.strip()][-1:]
    if status is None:
        return f"stopped after {seconds:.0f} s"
    if status < 0:
        return f"ended by signal {-status}"
    return "" if status == 0 else f"failed: {last_words[0].strip()[:300] if last_words else f'status {status}'}"


def listened_to(process: subprocess.Popen[str], end: float, page: Page) -> int | None:
    """Adds what the process prints to the page; its exit status, or None where it had to be stopped."""
    import signal
    import threading

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            page.add(f"   {line.rstrip()}")

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        status: int | None = process.wait(max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with what it started, such as a compiler
        process.wait()
        status = None
    listener.join(2)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
