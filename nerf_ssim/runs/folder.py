"""A run's folder: found again or begun, held by one process, refused where it does not fit, and written to."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

from nerf_ssim.config.base import BaseConfig
from nerf_ssim.config.sections import CommonRunConfig
from nerf_ssim.errors import CheckpointError, ConfigError, TrainingError
from nerf_ssim.files import file_errors, user_path
from nerf_ssim.runs.checkpoints import CheckpointFolder, saved_options
from nerf_ssim.runs.device import backend_record, choose_device, refuse_beyond_device
from nerf_ssim.runs.leftovers import remove_abandoned
from nerf_ssim.runs.lock import NAME as LOCK
from nerf_ssim.runs.lock import lock_folder
from nerf_ssim.runs.manifest import changed_circumstances, read_manifest, write_manifest
from nerf_ssim.runs.metrics_log import MetricsLog, warn_on_stderr
from nerf_ssim.runs.writers import Copies, Destination

__all__ = ["RunFolder", "run_path", "way_on", "write_options"]

C = TypeVar("C", bound=BaseConfig)


def run_path(run: CommonRunConfig) -> Path:
    """`basedir/expname`, where everything that a run leaves is."""
    return user_path(run.basedir) / run.expname


def write_options(config: BaseConfig) -> None:
    """Writes the options of a folder of runs into it, where `--resume` looks for them."""
    folder = run_path(config.run)
    with file_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        config.write(folder / "config.txt")


def way_on(folder: Path, lower: Sequence[str], anew: str = "") -> str:
    """What to do with the run in `folder` that cannot go on as it is.

    Args:
        lower: options that a run may be resumed with lower values of (`adjustable`).
        anew: what else helps a run that starts anew; empty for nothing.
    """
    options = " or ".join(f"--{name}" for name in lower)
    other = f", or with {anew}" if anew else ""
    saved = CheckpointFolder(folder).paths()
    if not saved:
        return f"nothing was saved yet: start it again with a lower {options}{other}"
    return (
        f"the checkpoint after {int(saved[-1].stem)} updates is kept: go on from it with --resume --allow_changes and "
        f"a lower {options}, or start anew with --overwrite and that{other}"
    )


class RunFolder(Generic[C]):
    """The folder of a run, locked for this process until `close` (or the process ends, however it does).

    Args:
        config: the run's options; they say whether the run begins anew or continues.
        model: the model's name in its checkpoints.
        required: what its checkpoints hold beside the model, the options and the iteration.
        lasting: iterations whose checkpoints stay.
        processes: how many train together, for the manifest.
    Attributes:
        config: the options with the device resolved: `auto` is chosen here, or taken from the run that continues.
        path: the folder.
        checkpoints: its checkpoints.
        changes: options that this start changes for good, by name, as they were and are.
        notes: what is to be said of those, a line each.
        resumed: path and payload of the checkpoint that this start continues; None where it begins anew.
    Raises:
        ConfigError: the folder holds a run and neither `resume` nor `overwrite` says what to do with it, it has seen
            more updates than `stop_at`, there is no such device, or the run does not fit into its memory.
        CheckpointError: none of its checkpoints can be read, or the newest is another model's or of other options.
        TrainingError: another process holds the folder.
    """

    def __init__(
        self, config: C, *, model: str, required: Sequence[str], lasting: Collection[int] = (), processes: int = 1
    ) -> None:
        self.model = model
        self.processes = processes
        if not config.run.resume:  # nothing is there yet
            refuse_beyond_device(config.needs(), choose_device(config.run.device))
        self.path = run_path(config.run)
        self._is_new = not os.path.lexists(self.path)
        self._lock = lock_folder(self.path)
        self.changes: dict[str, tuple[Any, Any]] = {}
        self._lengthened: set[str] = set()
        self.notes: list[str] = []
        with self.given_up_on_error():
            remove_abandoned(self.path)
            self.checkpoints = CheckpointFolder(self.path, lasting=lasting)
            self.resumed = self._find_checkpoint(config.run, ("config", *required))
            saved = {} if self.resumed is None else saved_options(*self.resumed)
            asked = config.run.device
            device = choose_device(saved.get("device", asked) if asked == "auto" else asked)
            self.config: C = config.replace(device=device)
            if self.resumed is not None:
                self._lengthen(saved.get("n_iters"))
                self._compare_options(saved)
            if config.run.resume:
                refuse_beyond_device(self.config.needs(), device)

    @property
    def resumed_at(self) -> int | None:
        """Updates done before this start; None where it begins anew."""
        return None if self.resumed is None else int(self.resumed[1]["iteration"])

    def close(self) -> None:
        """Lets another process have the folder."""
        self._lock.close()

    @contextmanager
    def given_up_on_error(self) -> Iterator[None]:
        """Lets the folder go where the block raises an error, and removes it if nothing else has begun in it."""
        try:
            yield
        except Exception:
            self.close()
            if self._is_new:
                with suppress(OSError):  # not empty: something of worth is in it
                    (self.path / LOCK).unlink(missing_ok=True)
                    self.path.rmdir()
            raise

    def refuse_other_data(self, key: str, content_hash: str, data: str) -> None:
        """Raises `CheckpointError` where the run was made of other data than is there now.

        Args:
            key: under which the checkpoint has the hash of its data.
            content_hash: of the data as it is now.
            data: how the message names the data, such as `--datadir data/scan1`.
        """
        if self.resumed is not None and self.resumed[1].get(key) != content_hash:
            raise CheckpointError(
                f"{self.resumed[0]}: was trained on other data than {data} holds now (the content hashes differ); "
                "give the original one or start anew with --overwrite"
            )

    def refuse_past_the_end(self, last: int, advice: str) -> None:
        """Raises `ConfigError` where the run has already seen more than `last` updates."""
        if self.resumed_at is not None and self.resumed_at > last:
            raise ConfigError(
                f"{self.path} has already seen {self.resumed_at} updates, more than --stop_at {last}: {advice}"
            )

    def changed_circumstances(self) -> list[str]:
        """What differs from the start that this one continues and can change a result's last bits."""
        if self.resumed is None:
            return []
        try:
            previous = read_manifest(self.path)
        except TrainingError:  # a run continues without its manifest: the checkpoint has all that counts
            return []
        device = self.config.run.device
        return changed_circumstances(previous, backend_record(device), device, self.processes)

    def open_log(
        self, *, data: dict[str, Any], columns: Sequence[str], precision: dict[str, dict[str, str]]
    ) -> MetricsLog:
        """Writes the manifest and the resolved options, and opens `metrics.csv` where this start begins.

        A run that begins anew first drops what an overwritten one left that could be taken for its own.

        Args:
            data: what identifies the data, for the manifest.
            columns: of `metrics.csv`.
            precision: what the manifest calls the network's precision, with what `precision_record` says of it.
        Raises:
            FileError, TrainingError: the folder cannot be written to.
        """
        with file_errors(self.path):
            if self.resumed is None:
                self.checkpoints.clear()
                for scores in (self.path / "results.json", *self.path.glob("evaluation_*/results.json")):
                    scores.unlink(missing_ok=True)
            else:
                self.checkpoints.prune(self.resumed[1]["iteration"])
            self.config.write(self.path / "config.txt")
        write_manifest(
            self.path,
            config=self.config.to_dict(),
            backend=backend_record(self.config.run.device),
            precision=precision,
            scene=data,
            seed=self.config.run.seed,
            device=self.config.run.device,
            resume_iteration=self.resumed_at,
            changes=self.changes,
            processes=self.processes,
        )
        names = [] if self.config.run.log_to == "none" else self.config.run.log_to.split(",")
        copies = Copies(names, Destination(self.path, self.config.to_dict(), self.resumed_at), warn_on_stderr)
        return MetricsLog(self.path, columns, resume_iteration=self.resumed_at, copies=copies)

    def save(self, state: dict[str, Any], iteration: int) -> Path:
        """Writes a checkpoint of `state` after `iteration` updates, with the model's name and the options."""
        return self.checkpoints.save({"model": self.model, "config": self.config.to_dict(), **state}, iteration)

    def _find_checkpoint(self, run: CommonRunConfig, required: Sequence[str]) -> tuple[Path, dict[str, Any]] | None:
        if run.overwrite or not self.checkpoints.paths():
            return None
        if not run.resume:
            raise ConfigError(
                f"{self.path} already holds a run: continue it with --resume, start it anew with --overwrite, or give "
                "another --expname"
            )
        return self.checkpoints.load_latest(model=self.model, required=required)

    def _lengthen(self, n_iters: Any) -> None:
        """Keeps the course of a run that was laid out for fewer updates."""
        config = self.config
        if isinstance(n_iters, int) and config.run.n_iters > n_iters:
            changes, effects = config.lengthened(n_iters, self.resumed_at or 0)
            self.config = config.replace(**changes)
            self._lengthened = {"n_iters", *changes}
            self.notes.append(
                "; ".join([f"{self.path}: extended from {n_iters} to {config.run.n_iters} updates", *effects])
            )

    def _compare_options(self, saved: dict[str, Any]) -> None:
        """Refuses options that the run does not have and may not get; takes down those that it gets."""
        assert self.resumed is not None
        declared, is_asked = self.config.options(), self.config.run.allow_changes
        values = self.config.fixed_options()
        differing = {name: (saved[name], value) for name, value in values.items() if saved.get(name, value) != value}
        self.changes = {
            name: pair
            for name, pair in differing.items()
            if name in self._lengthened or (is_asked and declared[name].adjustable)
        }
        refused = [
            f"{name} was {old!r}, is {new!r}" for name, (old, new) in differing.items() if name not in self.changes
        ]
        if refused:
            could_be = [name for name in differing if name not in self.changes and declared[name].adjustable]
            allow = f", take the new {' and '.join(could_be[:3])} from here on with --allow_changes" if could_be else ""
            raise CheckpointError(
                f"{self.resumed[0]}: belongs to a run with other options ({'; '.join(refused[:3])}); leave them out to "
                f"resume with its own{allow}, or start anew with --overwrite"
            )
        self.notes += [
            f"{self.path}: from update {self.resumed_at} on {name} is {new!r} (it was {old!r})"
            for name, (old, new) in self.changes.items()
            if name not in self._lengthened
        ]
