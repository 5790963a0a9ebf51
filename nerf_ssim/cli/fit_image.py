"""`nerf-ssim fit-image`: fit a coordinate network to a picture or to each of a folder, and score it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nerf_ssim.errors import FileError, SceneError, TrainingError, UserError, explain_os_error
from nerf_ssim.images.options import ImageConfig, read_images, require_pictures

if TYPE_CHECKING:
    from nerf_ssim.runs.interrupts import GracefulStop


LEVELS_SHOWN = ("50", "55", "60")


def run(argv: Sequence[str]) -> int:
    """Fits as the options say; returns the exit code (0, or 130/143/138 when interrupted).

    Everything is left under `<basedir>/<expname>`; with `images`, in a folder a picture under that.
    """
    given = read_images(argv)
    is_new = not given.value("resume")
    config = require_pictures(given.config()) if is_new else None
    notes: list[str] = []
    # Imported here: `--help` and a wrong option should not wait for torch.
    from nerf_ssim.images.fits import precision_note
    from nerf_ssim.runs.device import choose_device, refuse_beyond_device, start_line
    from nerf_ssim.runs.folder import write_options
    from nerf_ssim.runs.interrupts import GracefulStop
    from nerf_ssim.runs.resuming import config_to_resume

    if config is None:
        config, notes = config_to_resume(given)
    require_pictures(config)
    for line in notes:
        print(line)
    # A folder of pictures that is not there leaves no folder of runs.
    configs = configs_of_folder(config) if config.data.images else []
    device = choose_device(config.run.device)
    if is_new:
        refuse_beyond_device(config.needs(), device)
    if config.data.images or config.optim.lr_exponents:
        write_options(config)
    print(start_line(device))
    if note := precision_note(config):
        print(note)
    with GracefulStop() as stop:
        if config.data.image:
            fit_one(config, stop)
        elif config.run.workers > 1:
            fit_in_parallel(configs, config.run.workers, stop)
        else:
            fit_in_turn(configs, stop)
    if stop.requested is not None:
        print("stopped; the same command with --resume goes on")
    return stop.exit_code


def configs_of_folder(config: ImageConfig) -> list[ImageConfig]:
    """One configuration a picture: its run's folder is named after the picture."""
    from nerf_ssim.images.target import list_images
    from nerf_ssim.runs.folder import run_path

    folder = run_path(config.run)
    return [
        config.replace(image=str(path), images="", basedir=str(folder), expname=path.stem)
        for path in list_images(config.data.images)
    ]


def fit_one(config: ImageConfig, stop: GracefulStop) -> None:
    """Fits one picture, at one rate or searching for one, and prints what came of it."""
    from nerf_ssim.images.fits import run_fit, search_rate
    from nerf_ssim.runs.folder import run_path, way_on

    results = (search_rate if config.optim.lr_exponents else run_fit)(config, stop)
    if results["ended"] == "diverged":
        raise TrainingError(
            f"{config.run.expname}: the error is not a number at step {results['stopped_at']}; "
            f"{way_on(run_path(config.run), ('lr',))}"
        )
    if results["ended"] != "interrupted":
        print_results(run_path(config.run), results)


def print_results(folder: Path, results: dict[str, Any]) -> None:
    """The scores in one line, and where to look."""
    costs = [f"{level} dB at step {cost}" for level, cost in results["cost"].items() if cost and level in LEVELS_SHOWN]
    best = f"best {results['psnr_best']:.2f} dB at step {results['step_best']}, lr {results['lr']:.3g}"
    print("; ".join([f"{results['image']}: {best}", *costs]))
    print(f"results: {folder / 'results.json'}")


def fit_in_turn(configs: list[ImageConfig], stop: GracefulStop) -> None:
    """Fits one picture after the other; one that cannot be read or fitted does not keep the others from it.

    Raises:
        TrainingError: some picture was not fitted; why has been said.
    """
    failed = []
    for one in configs:
        if stop.requested is not None:
            break
        try:
            fit_one(one, stop)
        except (SceneError, TrainingError, FileError) as error:
            print(f"nerf-ssim: {error}", file=sys.stderr)
            failed.append(one.run.expname)
    refuse_unfitted(failed)


def refuse_unfitted(names: list[str]) -> None:
    """Raises `TrainingError` where there are any."""
    if names:
        raise TrainingError(f"not fitted: {', '.join(names)}; the lines above say why")


def fit_in_parallel(configs: list[ImageConfig], workers: int, stop: GracefulStop) -> None:
    """Fits several pictures at a time, a process each. A signal is passed on once, and every process saves its fit.

    Raises:
        TrainingError: some picture's process failed; it has said why, and the others are done.
    """
    import torch

    threads = max(1, torch.get_num_threads() // workers)
    context = multiprocessing.get_context("spawn")  # a fork would share the state of torch's thread pool
    waiting = list(configs)
    running: list[SpawnProcess] = []
    failed: list[str] = []
    is_passed_on = False
    while waiting or running:
        while waiting and len(running) < workers and stop.requested is None:
            one = waiting.pop(0)
            process = context.Process(target=_work, args=(one, threads), name=one.run.expname)
            process.start()
            running.append(process)
        if stop.requested is not None:
            waiting.clear()
            if not is_passed_on:
                is_passed_on = True
                for process in running:
                    process.terminate()
        failed += [process.name for process in running if process.exitcode not in (None, 0, 128 + signal.SIGTERM)]
        running = [process for process in running if process.exitcode is None]
        time.sleep(0.1)
    refuse_unfitted(failed)


def _work(config: ImageConfig, threads: int) -> None:
    """A worker process: one picture, with signals from the parent alone."""
    import torch

    from nerf_ssim.runs.interrupts import GracefulStop

    if hasattr(os, "setsid"):
        os.setsid()  # the terminal's Ctrl-C would come beside the parent's signal, and a second signal quits at once
    torch.set_num_threads(threads)
    with GracefulStop() as stop:
        try:
            fit_one(config, stop)
        except (UserError, OSError) as error:
            line = explain_os_error(error) if isinstance(error, OSError) else error
            print(f"nerf-ssim: {line}", file=sys.stderr)
            sys.exit(2)
    sys.exit(stop.exit_code)
