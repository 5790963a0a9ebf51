"""A 2D fit from its options to its results, and the search for the learning rate that reaches a PSNR first."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from nerf_ssim.errors import CheckpointError, ConfigError
from nerf_ssim.evaluation import pictures
from nerf_ssim.files import file_errors, read_text, write_json
from nerf_ssim.images.loop import Ending, fit, forward
from nerf_ssim.images.options import ImageConfig
from nerf_ssim.images.scores import LEVELS
from nerf_ssim.images.session import ImageSession, network_precision, read_target
from nerf_ssim.images.target import ImageTarget
from nerf_ssim.runs.checkpoints import CheckpointFolder, load_checkpoint, saved_config
from nerf_ssim.runs.determinism import repeatable
from nerf_ssim.runs.device import backend_record, choose_device
from nerf_ssim.runs.folder import run_path
from nerf_ssim.runs.interrupts import GracefulStop
from nerf_ssim.runs.lock import lock_folder
from nerf_ssim.runs.progress import Progress

__all__ = ["load_values", "precision_note", "rate_order", "run_fit", "search_rate"]

ERROR_SCALE = 4.0
"""The error map's full scale, in root mean squared errors."""


def run_fit(
    config: ImageConfig,
    stop: GracefulStop,
    *,
    target: ImageTarget | None = None,
    is_hopeless: Callable[[int, float], bool] = lambda step, psnr: False,
) -> dict[str, Any]:
    """Runs, or continues, one fit, and writes its `results.json` and pictures unless it was interrupted.

    A finished fit that is resumed ends again at its first step, so a command may be given again.

    Returns:
        The results; with `ended` "interrupted", that entry and `stopped_at` alone.
    """
    session = ImageSession(config, target)
    for note in session.folder.notes:
        print(note)
    for change in session.folder.changed_circumstances():
        print(f"{session.folder.path}: {change}")
    label = f"{config.run.expname} {session.target.name}"
    with (
        repeatable(config.run.deterministic),
        session.open_log() as log,
        Progress(session.last_iteration, session.iteration, label) as progress,
    ):
        ending = fit(session, log, progress, stop, is_hopeless=is_hopeless)
    if ending == "interrupted":
        return {"ended": ending, "stopped_at": session.iteration}
    results = describe_fit(session, ending)
    with file_errors(session.folder.path, then="give the command again with --resume"):
        write_json(session.folder.path / "results.json", results)
        if ending != "diverged":
            save_pictures(session)
    return results


def describe_fit(session: ImageSession, ending: Ending) -> dict[str, Any]:
    """What `results.json` holds: `psnr_best`, `step_best`, `cost` and `variance` by level, and how they came about."""
    config = session.config
    return {
        "image": session.target.name,
        "size": [session.target.height, session.target.width],
        "channels": session.target.channels,
        "model": config.network.field,
        "hidden": config.network.hidden,
        "hidden_layers": config.network.hidden_layers,
        "permuted": config.data.permute,
        "precision": network_precision(config),
        "lr": config.optim.lr,
        "schedule": session.schedule.summary(),
        "ssim_domain": config.ssim.ssim_domain,
        "iterations": config.run.n_iters,
        "stopped_at": session.iteration,
        "stop_psnr": config.run.stop_psnr,
        "ended": ending,
        **session.scores.results(),
        "seed": config.run.seed,
        "backend": backend_record(config.run.device),
        "seconds_train": session.seconds,
        "options": config.to_dict(),
    }


def precision_note(config: ImageConfig) -> str:
    """One line where the network's products do not run in the precision asked for; else ""."""
    record = network_precision(config.replace(device=choose_device(config.run.device)))
    if record["ran"] == record["asked"]:
        return ""
    return f"precision {record['asked']}: runs in {record['ran']} ({record['reason']})"


def save_pictures(session: ImageSession) -> None:
    """The fit as it stands, un-permuted, and its error map, as `fit.png` and `error.png` in the run's folder."""
    values, mse = forward(session, is_last=True, couples_pixels=False)
    fitted, truth = session.as_shown(values), session.target.values
    pictures.save_png(session.folder.path / "fit.png", session.target.shown(fitted))
    full_scale = max(ERROR_SCALE * float(mse) ** 0.5, 1e-12)
    pictures.save_png(session.folder.path / "error.png", pictures.error_map(fitted.double(), truth, full_scale))


def search_rate(config: ImageConfig, stop: GracefulStop) -> dict[str, Any]:
    """Fits at each rate 2^-N of `lr_exponents` and keeps the one that reaches `stop_psnr` in the fewest steps.

    Each rate's fit is in a folder of its own under the search's. The middle rates come first, and no fit goes on
    past the fewest steps so far; one is given up at half of them when it is behind where the best was at a quarter.

    Returns:
        The best fit's results, with `fit`, its folder, and `rates`: by rate, why its fit ended, its cost and best PSNR;
        also written to `results.json`. With `ended` "interrupted", that entry and `stopped_at` alone.
    Raises:
        TrainingError: another process searches there.
    """
    with lock_folder(run_path(config.run)):
        return _search(config, stop)


def _search(config: ImageConfig, stop: GracefulStop) -> dict[str, Any]:
    """`search_rate`, in a folder that is this process's."""
    if config.run.stop_psnr not in LEVELS:
        raise ConfigError(f"stop_psnr: a search compares costs at one of {', '.join(map(str, LEVELS))} dB")
    level = str(int(config.run.stop_psnr))
    folder, target = run_path(config.run), read_target(config)
    best: dict[str, Any] | None = None
    mark: dict[int, float] = {}
    rates: dict[str, Any] = {}
    for exponent in rate_order(config.optim.lr_exponents):
        name = f"lr_2^-{exponent}"
        steps = config.run.n_iters if best is None or best["cost"][level] is None else best["cost"][level]
        rate_config = config.replace(
            basedir=str(folder),
            expname=name,
            lr=2.0**-exponent,
            lr_exponents=(),
            stop_at=max([steps, *seen_steps(folder / name, config.run.overwrite)]),
        )
        results = run_fit(rate_config, stop, target=target, is_hopeless=partial(is_behind, mark))
        if results["ended"] == "interrupted":
            return results
        rates[f"2^-{exponent}"] = {key: results[key] for key in ("ended", "stopped_at", "psnr_best")}
        rates[f"2^-{exponent}"]["cost"] = results["cost"][level]
        if best is None or is_better(results, best, level):
            best = {**results, "fit": name}
            mark = halfway_mark(folder / name, results["cost"][level])
    summary = {**(best or {}), "rates": rates, "options": config.to_dict()}
    with file_errors(folder, then="give the command again with --resume"):
        write_json(folder / "results.json", summary)
    return summary


def load_values(folder: Path) -> tuple[Tensor, Tensor]:
    """The values of the fit in `folder` as it stands (of a search: its best fit's), and the picture's own.

    Returns:
        both `[height, width, channels]`, in the picture's own order.
    Raises:
        CheckpointError: no checkpoint to read.
        SceneError: the picture has gone.
    """
    fit = json.loads(read_text(folder / "results.json")).get("fit")
    folder = folder / fit if fit else folder
    path = CheckpointFolder(folder).latest()
    if path is None:
        raise CheckpointError(f"{folder}: holds no checkpoint; fit the picture again")
    config = saved_config(path, load_checkpoint(path), ImageConfig)
    session = ImageSession(
        config.replace(basedir=str(folder.parent), expname=folder.name, resume=True, overwrite=False, stop_at=None)
    )
    values, _ = forward(session, is_last=True, couples_pixels=False)
    session.folder.close()
    return session.as_shown(values), session.target.values


def rate_order(exponents: tuple[int, ...]) -> list[int]:
    """The exponents from the middle one outwards: the best rate tends to be there, and caps the others."""
    middle = sorted(exponents)[len(exponents) // 2]
    return sorted(exponents, key=lambda exponent: (abs(exponent - middle), exponent))


def is_better(results: Mapping[str, Any], best: Mapping[str, Any], level: str) -> bool:
    """Whether a fit reached the level in fewer steps; among those that never did, whether it came closer."""
    cost, best_cost = results["cost"][level], best["cost"][level]
    if cost is None or best_cost is None:
        return cost is not None or (best_cost is None and (results["psnr_best"] or 0) > (best["psnr_best"] or 0))
    return cost < best_cost


def halfway_mark(folder: Path, cost: int | None) -> dict[int, float]:
    """Half of a fit's cost, and the PSNR that it had at a quarter; empty for a fit that never arrived."""
    if cost is None:
        return {}
    psnr = read_psnr(folder)
    return {cost // 2: psnr[cost // 4]} if cost // 4 in psnr else {}


def is_behind(mark: Mapping[int, float], step: int, psnr: float) -> bool:
    """Whether a fit at the mark's step has less than its PSNR."""
    return step in mark and psnr < mark[step]


def seen_steps(folder: Path, is_discarded: bool) -> list[int]:
    """The steps of the fit in `folder` so far: an earlier search may have let it go on for longer."""
    paths = [] if is_discarded else CheckpointFolder(folder).paths()
    return [int(path.stem) for path in paths[-1:]]


def read_psnr(folder: Path) -> dict[int, float]:
    """PSNR by step of the fit in `folder`, from its `metrics.csv`."""
    with open(folder / "metrics.csv", encoding="utf-8", newline="") as file:
        return {int(row["iteration"]): float(row["psnr"]) for row in csv.DictReader(file)}
