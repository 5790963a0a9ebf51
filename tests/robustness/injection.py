"""Refuses one file operation of a short run after the other, and continues each run to its end.

    python -m tests.robustness.injection --step 1

trains on a tiny scene, counts the file operations under the run's folder, and then trains anew for every `--step`-th of
them: once with that operation refused (permission denied), once with the disk full from there on. Each time the command
has to end with one line and status 2 (or with 0, where what failed was optional), and the next start has to reach the
same checkpoint, bit for bit. It ends with 1 and names what did not.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

MODES = {"full": (errno.ENOSPC, True), "denied": (errno.EACCES, False)}
COMPARED = ("network", "optimizer", "model", "iteration", "recipe", "schedule", "generators", "batches", "s3im")


@dataclass(frozen=True)
class Outcome:
    """What came of one refused operation: `problem` is None where all was as promised."""

    command: str
    mode: str
    number: int
    operation: str
    problem: str | None
    line: str


def compile_library(folder: Path) -> Path:
    """The preloaded library, compiled into `folder`; raises FileNotFoundError without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise FileNotFoundError("no C compiler (cc)")
    library = folder / "faults.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(HERE / "faults.c"), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library


def inject(step: int, modes: Sequence[str], *, first: int = 1, timeout: float = 600) -> list[dict[str, Any]]:
    """Runs this file with the library preloaded; returns the outcomes as dicts."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"LD_PRELOAD": str(compile_library(Path(folder))), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(HERE / "injection.py"), "--inside", "--step", str(step), "--first", str(first)]
        done = subprocess.run(
            [*command, "--modes", *modes], capture_output=True, text=True, timeout=timeout, env=environment
        )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def commands(folder: Path) -> dict[str, Callable[[Path], list[str]]]:
    """The commands that are tried, each as its words for a folder of runs."""
    import cv2
    import numpy as np
    from tiny_scene import tiny_config, write_tiny_scene

    scene = write_tiny_scene(folder / "scene")
    options = folder / "options.txt"
    milestones: dict[str, Any] = {"upsamp_list": [], "update_AlphaMask_list": []}
    tiny_config(scene, folder, n_iters=6, save_every=2, vis_every=3, N_vis=1, save_at=[2], **milestones).write(options)
    picture = folder / "picture.png"
    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8))
    fit = [*("--config", "siren_small.txt", "--image", picture, "--size", "0", "--hidden", "8", "--n_iters", "6")]
    fit += ["--save_every", "2", "--hidden_layers", "1"]

    def train(runs: Path) -> list[str]:
        return ["train", "--config", str(options), "--basedir", str(runs)]

    def fit_image(runs: Path) -> list[str]:
        return ["fit-image", *map(str, fit), "--basedir", str(runs), "--expname", "tiny"]

    return {"train": train, "fit-image": fit_image}


def outcomes(step: int, first: int, modes: Sequence[str]) -> Iterator[Outcome]:
    """In a process with the library preloaded: every outcome, as it comes."""
    import forked

    from nerf_ssim.evaluation import perceptual
    from nerf_ssim.training import scoring

    library = ctypes.CDLL(None)
    library.faults_refused.restype = ctypes.c_char_p

    def without_network() -> None:
        scoring.lpips_scorers = perceptual.lpips_scorers = lambda weights: ()

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        without_network()
        for command, words in commands(root).items():

            def attempt(
                number: int, mode: str, extra: Sequence[str] = (), words=words
            ) -> tuple[forked.Ended, str, int]:
                note = root / "note"
                number_of_error, stays = MODES.get(mode, (0, False))

                def act() -> int:
                    library.faults_arm(str(root / "runs").encode(), number, number_of_error, int(stays))
                    code = forked.main([*words(root / "runs"), *extra])
                    note.write_text(f"{library.faults_counted()}\n{library.faults_refused().decode()}")
                    return code

                ended = forked.run([], act=act)
                count, _, operation = note.read_text().partition("\n") if note.exists() else ("0", "", "?")
                return ended, operation, int(count)

            # What a command imports on its way is then there in every child.
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                forked.main(words(root / "warm"))
            shutil.rmtree(root / "runs", ignore_errors=True)
            whole, _, count = attempt(0, "none")
            if whole.code != 0:
                raise RuntimeError(f"{command} does not run at all: {whole.err[-2000:]}")
            wanted = final_state(root / "runs")
            for mode in modes:
                for number in range(first, count + 1, step):
                    shutil.rmtree(root / "runs", ignore_errors=True)
                    ended, operation, _ = attempt(number, mode)
                    problem = None if ended.code == 0 else ended.problem()
                    if problem is None:
                        again, _, _ = attempt(0, "none", ["--resume"])
                        if again.code != 0:
                            problem = f"the next start ended with {again.code}: {again.line}"
                        elif other := differing(wanted, final_state(root / "runs")):
                            problem = f"the next start came to another state: {', '.join(other)}"
                    yield Outcome(command, mode, number, operation.replace(str(root), ""), problem, ended.line)


def final_state(runs: Path) -> dict[str, Any]:
    """What must come out the same, from the newest checkpoint of the run in `runs`."""
    import torch

    newest = max((runs / "tiny" / "checkpoints").glob("*.pt"))
    record = torch.load(newest, weights_only=True)
    return {name: record[name] for name in COMPARED if name in record}


def differing(ours: Any, theirs: Any, where: str = "") -> list[str]:
    """Where two nested records of tensors and plain values differ."""
    import torch

    if isinstance(ours, torch.Tensor):
        return [] if isinstance(theirs, torch.Tensor) and torch.equal(ours, theirs) else [where]
    if isinstance(ours, dict):
        if not isinstance(theirs, dict) or ours.keys() != theirs.keys():
            return [where]
        return [found for key in ours for found in differing(ours[key], theirs[key], f"{where}.{key}")]
    if isinstance(ours, (list, tuple)):
        if not isinstance(theirs, (list, tuple)) or len(ours) != len(theirs):
            return [where]
        return [
            found
            for index, pair in enumerate(zip(ours, theirs, strict=True))
            for found in differing(*pair, f"{where}[{index}]")
        ]
    return [] if ours == theirs else [where]


def main() -> int:
    """Prints an outcome a line as JSON with `--inside`, else those that are problems and a count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", type=int, default=1, help="every so many operations (1)")
    parser.add_argument("--first", type=int, default=1, help="the first operation that is refused (1)")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        for outcome in outcomes(options.step, options.first, options.modes):
            print(json.dumps(asdict(outcome)), flush=True)
        return 0
    found = inject(options.step, options.modes, first=options.first, timeout=7200)
    problems = [outcome for outcome in found if outcome["problem"]]
    for outcome in problems:
        print(
            f"{outcome['command']} {outcome['mode']} {outcome['number']} ({outcome['operation']}): {outcome['problem']}"
        )
    print(f"{len(found)} refused operations, {len(problems)} not as promised")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
