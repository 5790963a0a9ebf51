"""What every kind of run does alike: start, find its place again, keep its record, follow its SSIM schedule."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import torch

from nerf_ssim.config.base import BaseConfig
from nerf_ssim.config.sections import CommonRunConfig, ScheduleConfig
from nerf_ssim.errors import CheckpointError, ConfigError, TrainingError
from nerf_ssim.ops import backend, decoder
from nerf_ssim.ssim.schedule import SsimSchedule
from nerf_ssim.training.checkpoints import CheckpointFolder
from nerf_ssim.training.logging import MetricsLog
from nerf_ssim.training.manifest import changed_circumstances, read_manifest, write_manifest

__all__ = [
    "backend_record",
    "check_device",
    "is_due",
    "last_iteration",
    "make_schedule",
    "newest_checkpoint",
    "open_run_log",
    "precision_record",
    "refuse_other_options",
    "refuse_past_the_end",
    "run_folder",
    "schedule_summary",
    "what_has_changed",
]


def run_folder(run: CommonRunConfig) -> Path:
    """`basedir/expname`, where everything a run leaves is."""
    return Path(run.basedir) / run.expname


def check_device(device: str) -> None:
    """Raises `ConfigError` where `device` is a GPU that is not there."""
    if device.startswith("cuda"):
        count = torch.cuda.device_count()
        index = torch.device(device).index or 0
        if index >= count:
            found = f"{count} found" if count else "none found (no driver, or a CPU build of torch)"
            raise ConfigError(f"--device {device}: there is no such GPU; {found}. Use --device cpu")


def make_schedule(ssim: ScheduleConfig, weight: float, starts_at: int = 0) -> SsimSchedule:
    """The SSIM schedule that the options describe, of a term of this weight, counted from iteration `starts_at`."""
    return SsimSchedule(
        weight,
        ssim.ssim_add_at,
        ssim.ssim_remove_at,
        tolerance=ssim.ssim_auto_tolerance,
        patience=ssim.ssim_auto_patience,
        starts_at=starts_at,
    )


def last_iteration(run: CommonRunConfig) -> int:
    """Updates after which a run stops and scores."""
    return run.n_iters if run.stop_at is None else min(run.stop_at, run.n_iters)


def is_due(count: int, every: int) -> bool:
    """Whether `count` is a multiple of `every`; never where `every` is 0."""
    return every > 0 and count % every == 0


def newest_checkpoint(
    checkpoints: CheckpointFolder, run: CommonRunConfig, *, model: str, required: Sequence[str]
) -> tuple[Path, dict[str, Any]] | None:
    """The checkpoint that a start continues; None for one that begins anew.

    Raises:
        ConfigError: the folder holds a run and neither `resume` nor `overwrite` says what to do with it.
        CheckpointError: none of its checkpoints can be read, or it is another model's.
    """
    if run.overwrite or not checkpoints.paths():
        return None
    if not run.resume:
        raise ConfigError(
            f"{checkpoints.folder.parent} already holds a run: continue it with --resume, start it anew with "
            "--overwrite, or give another --expname"
        )
    return checkpoints.load_latest(model=model, required=required)


def refuse_other_options(path: Path, saved: dict[str, Any], config: BaseConfig, free: Collection[str]) -> None:
    """Raises `CheckpointError` where `config` differs from the options `saved` in the checkpoint at `path`.

    Args:
        free: names of the options that may differ: nothing that the result depends on.
    """
    ours = config.to_dict()
    changed = [
        f"{name} was {was!r}, is {ours[name]!r}"
        for name, was in saved.items()
        if name in ours and name not in free and plain(ours[name]) != plain(was)
    ]
    if changed:
        raise CheckpointError(
            f"{path}: belongs to a run with other options ({'; '.join(changed[:3])}); resume with its own "
            f"({path.parent.parent / 'config.txt'}) or start anew with --overwrite"
        )


def refuse_past_the_end(folder: Path, iteration: int, last: int, advice: str) -> None:
    """Raises `ConfigError` where the run in `folder` has already seen more than `last` updates."""
    if iteration > last:
        raise ConfigError(f"{folder} has already seen {iteration} updates, more than --stop_at {last}: {advice}")


def what_has_changed(folder: Path) -> list[str]:
    """What differs from the start that wrote the folder's manifest and can change a result's last bits."""
    try:
        previous = read_manifest(folder)
    except TrainingError:  # a run continues without its manifest: the checkpoint has all that counts
        return []
    return changed_circumstances(previous, backend_record())


def open_run_log(
    checkpoints: CheckpointFolder,
    config: BaseConfig,
    run: CommonRunConfig,
    *,
    data: dict[str, Any],
    columns: Sequence[str],
    resume_iteration: int | None,
    precision: dict[str, dict[str, str]],
) -> MetricsLog:
    """Writes the manifest and the resolved configuration, and opens `metrics.csv` where this start begins.

    A fresh run (`resume_iteration` None) first drops what an overwritten one left that could be taken for its own.

    Args:
        data: what identifies the data, for the manifest.
        precision: what the manifest calls the network's precision, with what `precision_record` says of it.
    """
    folder = checkpoints.folder.parent
    if resume_iteration is None:
        checkpoints.clear()
        for scores in (folder / "results.json", *folder.glob("evaluation_*/results.json")):
            scores.unlink(missing_ok=True)
    config.write(folder / "config.txt")
    write_manifest(
        folder,
        config=config.to_dict(),
        backend=backend_record(),
        precision=precision,
        scene=data,
        seed=run.seed,
        device=run.device,
        resume_iteration=resume_iteration,
    )
    return MetricsLog(folder, columns, resume_iteration=resume_iteration)


def backend_record() -> dict[str, dict[str, str]]:
    """Each op's implementation and why, for the manifest and the results."""
    return {op: {"implementation": how, "reason": why} for op, (how, why) in backend.describe().items()}


def precision_record(
    asked: str, device: str, effective: Callable[[str, str], tuple[str, str]] = decoder.effective_precision
) -> dict[str, str]:
    """A network's precision for the manifest and the results: `asked` for, `ran` on `device`, `reason`.

    Args:
        effective: the op's own answer; the colour decoder's unless it is given.
    """
    ran, reason = effective(asked, device)
    return {"asked": asked, "ran": ran, "reason": reason}


def schedule_summary(schedule: SsimSchedule) -> dict:
    """The schedule as `results.json` records it."""
    return {
        "weight": schedule.weight,
        "add_at": schedule.add_at,
        "remove_at": schedule.remove_at,
        "removed_at": schedule.removed_at,
    }


def plain(value: object) -> object:
    """Tuples and lists compare alike."""
    return list(value) if isinstance(value, tuple) else value
