"""What the tests of sweeps share: an engine whose runs end at once, and pictures to fit."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from nerf_ssim.experiments.sweep.runs import PlannedRun
from nerf_ssim.experiments.sweep.scheduler import Job
from nerf_ssim.experiments.sweep.state import standing_of


def leave_results(run: PlannedRun, psnr: float = 20.0) -> None:
    """What a finished run leaves, of which sweeps read."""
    run.folder.mkdir(parents=True, exist_ok=True)
    options = run.config.to_dict()
    rows = "".join(f"{update},{update * 0.5},{psnr}\n" for update in (0, run.updates - 1))
    (run.folder / "metrics.csv").write_text("iteration,seconds,psnr_train\n" + rows)
    (run.folder / "manifest.json").write_text(json.dumps({"config": options}))
    results = {"stopped_at": run.updates, "seconds_train": run.updates * 0.5, "psnr": psnr, "seed": options["seed"]}
    (run.folder / "results.json").write_text(json.dumps(results))


class StubAttempt:
    """An attempt that has ended with `code`, or goes on until it is told to stop when `code` is None."""

    def __init__(self, code: int | None, words: str = "") -> None:
        self.code, self.words = code, words

    def poll(self) -> int | None:
        return self.code

    def send_signal(self, number: int) -> None:
        self.code = 128 + number

    def last_words(self) -> str:
        return self.words


class StubEngine:
    """Ends each start of a run with the next of `codes`, by the run's title; 0 leaves results, and is the last."""

    claims = True

    def __init__(self, slots: int = 2, codes: dict[str, list[int | None]] | None = None, words: str = "") -> None:
        self.slots, self.codes, self.words = slots, codes or {}, words
        self.started: list[str] = []

    def start(self, run: PlannedRun) -> StubAttempt:
        self.started.append(run.title)
        codes = self.codes.get(run.title) or [0]
        code = codes.pop(0)
        if code == 0:
            leave_results(run)
        return StubAttempt(code, self.words)

    def close(self) -> None:
        pass


def jobs_of(runs: list[PlannedRun]) -> list[Job]:
    """Jobs as a sweep has them at its start."""
    jobs = [Job(run, standing_of(run)) for run in runs]
    for job in jobs:
        job.state = "done" if job.standing.state == "done" else "waiting"
    return jobs


def hide_tensorboard(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps child processes from importing TensorBoard, which takes seconds."""
    package = folder / "hidden" / "tensorboard"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError\n")
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(package.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    )


def write_pictures(folder: Path, names: tuple[str, ...] = ("one", "two"), size: int = 16) -> None:
    """Pictures of random pixels."""
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{name}.png"), pixels)
