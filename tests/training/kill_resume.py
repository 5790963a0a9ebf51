"""Kills a run at random moments, resumes it each time, and compares its weights with those of an unbroken run.

    python -m tests.training.kill_resume --config room.txt --n_iters 300 --kills 10

trains twice under a temporary folder with `train.py`: once unbroken; once killed with SIGKILL at random moments spread
over the run (during start-up, updates and checkpoints alike) and resumed each time. It ends with 0 and one line where
the final checkpoints agree bit for bit in every tensor and value of the model, optimiser, generators and schedule, and
with 1 and the names of what differs otherwise. Options it does not know go to the training. Both runs have the same
number of threads, as bit-identical results need.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

ROOT = Path(__file__).resolve().parents[2]
COMPARED = ("model", "iteration", "scene_hash", "recipe", "schedule", "generators", "batches", "s3im")


class Process(Protocol):
    """A started training: what `subprocess.Popen` and `multiprocessing.Process` have in common."""

    def kill(self) -> None:
        """Ends it with SIGKILL."""


Start = Callable[[list[str]], Process]
"""Starts `train` with these options."""
Wait = Callable[[Process, float | None], int | None]
"""Waits at most so many seconds (None: for ever) and returns the exit code, None while it runs."""


def newest_iteration(run: Path) -> int:
    """Updates in the newest whole checkpoint of a run; 0 without any."""
    return max((int(path.stem) for path in (run / "checkpoints").glob("*.pt") if path.stem.isdecimal()), default=0)


def kill_and_resume(
    options: Sequence[str],
    run: Path,
    kills: int,
    n_iters: int,
    start: Start,
    wait: Wait,
    *,
    save_every: int,
    pause: float,
    chance: random.Random,
) -> Iterator[tuple[int, int | None]]:
    """Runs to the end through `kills` kills; yields (checkpointed updates at the kill, exit code that came before it).

    Each kill waits until the newest checkpoint has come a random part of the remaining way, then up to `pause` seconds
    more: about the time between two checkpoints, so that it lands anywhere, in an update, a checkpoint or a milestone.
    """
    for number in range(kills):
        process = start([*options, "--resume"])
        done = newest_iteration(run)
        goal = done + chance.uniform(0, 1.5) * (n_iters - done) / (kills - number + 1)
        code = None
        while code is None and newest_iteration(run) < min(goal, n_iters - 2 * save_every):
            code = wait(process, 0.01)
        if code is None:
            code = wait(process, chance.uniform(0, pause))
        process.kill()
        wait(process, None)
        yield newest_iteration(run), code
        if code not in (None, 0):
            raise RuntimeError(f"training ended with {code} before it was killed")
    code = wait(start([*options, "--resume"]), None)
    if code != 0:
        raise RuntimeError(f"the last resumption ended with {code}")


def differences(ours: Any, theirs: Any, where: str = "") -> Iterator[str]:
    """The places in two nested states that are not bit for bit the same."""
    if isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor):
        same = ours.dtype == theirs.dtype and ours.shape == theirs.shape
        if not same or not torch.equal(ours.reshape(-1).view(torch.uint8), theirs.reshape(-1).view(torch.uint8)):
            yield where
    elif isinstance(ours, dict) and isinstance(theirs, dict):
        for key in {**ours, **theirs}:
            yield from differences(ours.get(key), theirs.get(key), f"{where}/{key}")
    elif isinstance(ours, (list, tuple)) and isinstance(theirs, (list, tuple)) and len(ours) == len(theirs):
        for index, pair in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(*pair, f"{where}/{index}")
    elif ours != theirs:
        yield where


def compare_runs(ours: Path, theirs: Path, n_iters: int) -> list[str]:
    """Places in which the final checkpoints of two runs differ, of all that training depends on."""
    states = [
        torch.load(run / "checkpoints" / f"{n_iters:06d}.pt", weights_only=True, map_location="cpu")
        for run in (ours, theirs)
    ]
    return list(differences(*({key: state[key] for key in COMPARED} for state in states)))


def count_tensors(value: Any) -> tuple[int, int]:
    """Tensors and their elements in a nested state."""
    if isinstance(value, torch.Tensor):
        return 1, value.numel()
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    counts = [count_tensors(part) for part in parts]
    return sum(n for n, _ in counts), sum(elements for _, elements in counts)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="room.txt", help="configuration of the run")
    parser.add_argument("--n_iters", type=int, default=300, help="iterations after which the runs are compared")
    parser.add_argument("--kills", type=int, default=10, help="how often the second run is killed")
    parser.add_argument("--save_every", type=int, default=20, help="iterations between its checkpoints")
    parser.add_argument("--kill_seed", type=int, default=0, help="of the random moments")
    given, further = parser.parse_known_args(argv)
    chance = random.Random(given.kill_seed)

    def start(options: list[str]) -> subprocess.Popen:
        log = (folder / "log.txt").open("ab")
        command = [sys.executable, str(ROOT / "train.py"), *options]
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def wait(process: subprocess.Popen, seconds: float | None) -> int | None:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        # stop_at, not n_iters: the configuration's schedules stay, whatever number of iterations is asked for.
        options = ["--config", given.config, "--stop_at", str(given.n_iters), "--save_every", str(given.save_every)]
        options += ["--basedir", str(folder), "--vis_every", "0", "--render_test", "0", *further]
        started = time.monotonic()
        code = wait(start([*options, "--expname", "unbroken"]), None)
        if code != 0:
            print((folder / "log.txt").read_text(errors="replace")[-2000:])
            return 1
        seconds = time.monotonic() - started
        pause = seconds * given.save_every / given.n_iters
        print(f"unbroken: {given.n_iters} iterations in {seconds:.0f} s", flush=True)
        broken = [*options, "--expname", "broken"]
        pause = given.save_every * (time.monotonic() - started) / given.n_iters
        moments = kill_and_resume(
            broken,
            folder / "broken",
            given.kills,
            given.n_iters,
            start,
            wait,
            save_every=given.save_every,
            pause=pause,
            chance=chance,
        )
        for number, (iteration, ended) in enumerate(moments, start=1):
            print(f"kill {number}: newest checkpoint {iteration}{'' if ended is None else ' (had ended)'}", flush=True)
        found = compare_runs(folder / "unbroken", folder / "broken", given.n_iters)
        state = torch.load(folder / "broken" / "checkpoints" / f"{given.n_iters:06d}.pt", weights_only=True)
        tensors, elements = count_tensors({key: state[key] for key in COMPARED})
    if found:
        print(f"{len(found)} places differ: {', '.join(found[:10])}")
        return 1
    print(f"bit-identical after {given.kills} kills: {tensors} tensors, {elements} elements, and every plain value")
    return 0


if __name__ == "__main__":
    sys.exit(main())
