"""Peak memory of a canonical run: a fresh process that loads 81 images of 384x384, trains and saves a checkpoint.

`python -m benchmarks memory --state trained` prints one JSON line. The peak is that of the child's resident memory from
its start to its end: interpreter, torch, the images, the field, Adam's moments, the iterations and the checkpoint's
writing. The trained state begins right after the last upsampling, which is part of it. Options that are not the
benchmark's own are the training command's.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.states import add_arguments, become_trained, canonical_config, room_scene, write_scene
from benchmarks.timing import peak_rss_mb
from nerf_ssim.models.config import Config, parse
from nerf_ssim.runs.interrupts import GracefulStop
from nerf_ssim.runs.progress import Progress
from nerf_ssim.training.loop import train
from nerf_ssim.training.session import Session

__all__ = ["add_arguments", "run"]


def run(args: argparse.Namespace, options: Sequence[str], *, size: int = 384, **settings: object) -> dict[str, object]:
    """The record of a run of `args.repeats` iterations, native and, with `args.reference`, by the reference.

    Args:
        args: `state`, `threads`, `repeats`, `reference`.
        options: training options, `--name value`; `--datadir` names a scene to use instead of the procedural room.
        size: side of the room's views, pixels.
        settings: further training options by name.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = canonical_config(options).replace(basedir=folder, expname="memory", overwrite=True, **settings)
        if config.data.datadir == "synthetic":
            config = config.replace(datadir=str(write_scene(room_scene(size), Path(folder) / "room")))
        file = Path(folder) / "config.txt"
        config.write(file)
        native = _child(file, args, "native")
        reference = _child(file, args, "reference") if args.reference else None
    return {
        "op": "memory", "state": args.state, "peak_rss_mb": native["peak_rss_mb"],
        "reference_peak_rss_mb": None if reference is None else reference["peak_rss_mb"],
        "before_training_mb": native["before_training_mb"], "iterations": args.repeats, "threads": args.threads,
        **native["sizes"],
    }  # fmt: skip


def train_here(config: Config, state: str, iterations: int) -> dict[str, object]:
    """Trains `iterations` updates from `state` on and returns this process's peaks in MB."""
    config = config.replace(vis_every=0, N_vis=0, overwrite=True)
    session = Session(config.replace(stop_at=iterations))
    if state == "trained":
        session.iteration = become_trained(session.recipe, session.batches)
        session.config = config.replace(stop_at=session.iteration + iterations)
    before = peak_rss_mb()
    with GracefulStop() as stop, session.open_log() as log:
        with Progress(session.last_iteration, session.iteration, file=io.StringIO()) as progress:
            train(session, log, progress, stop)
    train_views = session.scene.train
    return {
        "peak_rss_mb": round(peak_rss_mb()),
        "before_training_mb": round(before),
        "sizes": {
            "views": len(train_views) + len(session.scene.test), "size": [train_views.width, train_views.height],
            "resolution": session.recipe.field.resolution,
        },
    }  # fmt: skip


def _child(config: Path, args: argparse.Namespace, backend: str) -> dict:
    words = [str(config), args.state, str(args.repeats), str(args.threads)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", *words],
        env={**os.environ, "NERF_SSIM_BACKEND": backend}, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def _main() -> None:
    file, state, iterations, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    print(json.dumps(train_here(parse(["--config", file]), state, int(iterations))))


if __name__ == "__main__":
    _main()
