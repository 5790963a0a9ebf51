"""Checkpoints: tensors and plain values only, written whole or not at all, refused in one line when they don't fit."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import torch

from nerf_ssim.config.base import BaseConfig
from nerf_ssim.errors import CheckpointError, ConfigError
from nerf_ssim.files import atomic_file, file_errors, plain_value, remove_leftovers, sync_folder
from nerf_ssim.runs.container import TornCheckpoint, plain_copy, read_record
from nerf_ssim.runs.manifest import project_version
from nerf_ssim.runs.schema import Schema, Unsound

FORMAT = "nerf_ssim checkpoint"
FORMAT_VERSION = 1
REQUIRED = ("model", "iteration")
C = TypeVar("C", bound=BaseConfig)
_RESERVED = ("format", "format_version", "project_version")


def save_checkpoint(path: str | os.PathLike, payload: Mapping[str, Any]) -> None:
    """Write `payload` to `path`, atomically (see `atomic_file`).

    Tensors are saved detached, on the CPU, and without the part of their storage that they don't show.

    Args:
        path: the file; an existing one is replaced only by a complete new one.
        payload: nested dicts, lists and tuples of tensors, None, bool, int, float and str. It has `model` (the
            model's name) and `iteration` (updates done). Format and project versions are added.
    Raises:
        TypeError: any other type in the payload; the message names where.
        ValueError: `model` or `iteration` missing, or a key that this function adds.
        CheckpointError: the file can't be written (disk full, no permission); the old one is kept.
    """
    path = Path(path)
    if missing := [key for key in REQUIRED if key not in payload]:
        raise ValueError(f"a checkpoint needs {', '.join(missing)}")
    if clash := [key for key in _RESERVED if key in payload]:
        raise ValueError(f"a checkpoint's own keys can't be in the payload: {', '.join(clash)}")
    versions = {"format": FORMAT, "format_version": FORMAT_VERSION, "project_version": project_version()}
    record = versions | plain_copy(payload, "")
    try:
        remove_leftovers(path.parent, path.name)
        with atomic_file(path) as file:
            sink = _Sink(file)
            torch.save(record, sink)  # type: ignore[arg-type]  # it needs `write` alone
            sink.raise_failure()
    except OSError as error:
        raise CheckpointError(
            f"{path}: the checkpoint couldn't be written ({error.strerror or error}); "
            "earlier checkpoints are kept: free some space or mend the folder, then --resume"
        ) from error


def load_checkpoint(
    path: str | os.PathLike, *, model: str | None = None, required: Sequence[str] = ()
) -> dict[str, Any]:
    """Read a checkpoint written by `save_checkpoint`, on the CPU, with nothing unpickled beyond plain values.

    Args:
        path: the file.
        model: the name of the model that this run builds; None accepts any.
        required: further keys that the caller can't do without.
    Returns:
        The payload, with `format`, `format_version` and `project_version`.
    Raises:
        TornCheckpoint: the file is cut short, damaged or something else altogether.
        CheckpointError: no such file, another format version, another model, a missing key, or more than
            tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; look in the run's checkpoints folder")
    record = read_record(path)
    if not isinstance(record, dict) or not _is(record.get("format"), FORMAT):
        raise CheckpointError(f"{path}: not a nerf_ssim checkpoint (it has no format mark)")
    if not _is(record.get("format_version"), FORMAT_VERSION):
        raise CheckpointError(
            f"{path}: checkpoint format {record.get('format_version')}, this version reads {FORMAT_VERSION}; "
            f"it was written by nerf_ssim {record.get('project_version')}: use that version or train anew"
        )
    if missing := [key for key in (*REQUIRED, *required) if key not in record]:
        raise CheckpointError(f"{path}: the checkpoint has no {', '.join(missing)}; train anew")
    if model is not None and not _is(record["model"], model):
        raise CheckpointError(
            f"{path}: the checkpoint holds a {record['model']}, this run is a {model}; "
            "give the model it was trained with or another --expname"
        )
    try:
        plain_copy(record, "")
    except TypeError as error:
        raise CheckpointError(f"{path}: the checkpoint holds more than tensors and plain values ({error})") from error
    return record


class CheckpointFolder:
    """A run's `checkpoints/000123.pt` files, the newest few of them; copies of those that are to stay in `lasting/`.

    Args:
        folder: the run's folder; the files are in its subfolder `checkpoints`.
        keep: how many of the newest stay, >= 1. Two, so that a damaged newest one has something to fall back to.
        lasting: iterations whose checkpoints are kept in the subfolder `lasting` too, where no later start of the run
            removes them.
        warn: takes one line when a damaged checkpoint is passed over; prints to stderr by default.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        keep: int = 2,
        lasting: Collection[int] = (),
        warn: Callable[[str], None] | None = None,
    ) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        self.folder = Path(folder) / "checkpoints"
        self.keep = keep
        self.lasting = frozenset(lasting)
        self._warn = warn or _warn_on_stderr

    def paths(self) -> list[Path]:
        """The checkpoint files, in ascending order of iteration, whether or not they can be read."""
        return _numbered(self.folder)

    def path(self, iteration: int) -> Path:
        """The name of the checkpoint after `iteration` updates."""
        return self.folder / f"{iteration:06d}.pt"

    def save(self, payload: Mapping[str, Any], iteration: int) -> Path:
        """Save the state after `iteration` updates, then remove all but the newest `keep`.

        Checkpoints of later iterations are removed too: they belong to a future that a resume from an earlier
        iteration has abandoned, and a later resume must not fall into it.

        Raises: as `save_checkpoint`; no other checkpoint is removed then.
        """
        path = self.path(iteration)
        if payload.get("iteration", iteration) != iteration:
            raise ValueError(f"saving iteration {iteration}, but it is {payload['iteration']} in the payload")
        with file_errors(self.folder, "tidied", kind=CheckpointError, then="continue with --resume"):
            if self.folder.is_dir():
                remove_leftovers(self.folder, "*.pt")
        # The lasting one first: a start after a kill between the two comes by this iteration again.
        places = [self.folder / "lasting" / path.name, path] if iteration in self.lasting else [path]
        for place in places:
            save_checkpoint(place, {"iteration": iteration, **payload})
        kept = set(self._until(iteration)[-self.keep :])
        abandoned = [other for other in _numbered(self.folder / "lasting") if int(other.stem) > iteration]
        with file_errors(self.folder, "tidied", kind=CheckpointError, then="continue with --resume"):
            for other in [*self.paths(), *abandoned]:
                if other not in kept:
                    other.unlink(missing_ok=True)
            sync_folder(self.folder)
        return path

    def prune(self, iteration: int) -> None:
        """Remove what saving after `iteration` updates would have removed of the checkpoints before it, for a start
        that goes on from there: a kill may have come between the two.

        Raises: OSError.
        """
        for path in self._until(iteration)[: -self.keep]:
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove every checkpoint, for a run that starts anew in an old one's folder: a kill before its first save
        must not leave the old run's state to be resumed as its own."""
        if self.folder.is_dir():
            for path in [*self.paths(), *_numbered(self.folder / "lasting"), *remove_leftovers(self.folder, "*.pt")]:
                path.unlink(missing_ok=True)
            sync_folder(self.folder)

    def _until(self, iteration: int) -> list[Path]:
        return [path for path in self.paths() if int(path.stem) <= iteration]

    def load_latest(
        self, *, model: str | None = None, required: Sequence[str] = ()
    ) -> tuple[Path, dict[str, Any]] | None:
        """The newest checkpoint that isn't damaged, as (path, payload); None where there are no checkpoints at all.

        A damaged one is passed over with one line of warning.

        Raises:
            CheckpointError: every checkpoint is damaged, or the newest sound one doesn't fit (`load_checkpoint`).
        """
        paths = self.paths()
        for path in reversed(paths):
            try:
                return path, load_checkpoint(path, model=model, required=required)
            except TornCheckpoint as error:
                self._warn(f"{error}; falling back to the one before")
        if paths:
            raise CheckpointError(f"{self.folder}: none of its {len(paths)} checkpoints can be read; train anew")
        return None

    def latest(self) -> Path | None:
        """The path that `load_latest` would load (it reads the file to be sure of it), or None.

        Raises: as `load_latest`.
        """
        found = self.load_latest()
        return None if found is None else found[0]


def refuse_unsound(path: Path, record: Mapping[str, Any], schema: Schema) -> None:
    """Raises `CheckpointError` where a checkpoint's contents do not fit `schema`; the line names the key."""
    with refusing_unsound(path):
        schema(record, "")


def saved_config(path: Path, record: Mapping[str, Any], kind: type[C]) -> C:
    """The options that a checkpoint was written with.

    Raises:
        CheckpointError: they are not there, not of this version, or contradict each other.
    """
    try:
        return kind.from_dict(saved_options(path, record))
    except ConfigError as error:
        raise CheckpointError(f"{path}: config: {error}; train anew, or use the version that wrote it") from error


def saved_options(path: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """The options in a checkpoint by name, as plain values (JSON's kinds) and as they were saved, whatever the version.

    Raises:
        CheckpointError: they are not there, or not such values.
    """
    options = record.get("config")
    if not isinstance(options, dict) or not all(isinstance(name, str) for name in options):
        raise CheckpointError(f"{path}: config is no record of options; train anew")
    try:
        plain = {name: plain_value(value, f"config.{name}") for name, value in options.items()}
    except TypeError as error:
        raise CheckpointError(f"{path}: {error}; train anew") from error
    if not isinstance(plain.get("device", ""), str):
        raise CheckpointError(f"{path}: config.device is no name of a device; train anew")
    return plain


def newest_options(folder: Path) -> tuple[Path, dict[str, Any], int] | None:
    """Path, options and iteration of the newest checkpoint of a run's folder that can be read; None without any."""
    for path in reversed(CheckpointFolder(folder).paths()):
        try:
            record = read_record(path, leaves_tensors=True)
            if isinstance(record, dict) and type(record.get("iteration")) is int:
                return path, saved_options(path, record), record["iteration"]
        except CheckpointError:  # whoever loads it says why
            continue
    return None


@contextmanager
def refusing_unsound(path: Path) -> Iterator[None]:
    """Turns `Unsound` of the block into a `CheckpointError` that names the file and what to do."""
    try:
        yield
    except Unsound as error:
        raise CheckpointError(
            f"{path}: {error}; nothing can go on from this file: remove it, and the run goes on from the checkpoint "
            "before it, or anew where there is none"
        ) from error


def _is(value: object, expected: str | int) -> bool:
    """Whether they are the same; a tensor would compare element by element."""
    return type(value) is type(expected) and value == expected


def _numbered(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("*.pt") if path.stem.isdecimal()), key=lambda path: int(path.stem))


class _Sink:
    """What `torch.save` writes to: keeps the first OSError instead of raising it into the native archive writer,
    which would lose its cause and may abort the process from its destructor."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._failure: OSError | None = None

    def write(self, data: Any) -> int:
        if self._failure is None:
            try:
                self._file.write(data)
            except OSError as error:
                self._failure = error
        return memoryview(data).nbytes

    def flush(self) -> None:
        pass  # `atomic_file` flushes and syncs once, at the end

    def raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


def _warn_on_stderr(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr)
