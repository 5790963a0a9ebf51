"""Checkpoints: tensors and plain values only, written whole or not at all, refused in one line when they don't fit."""

from __future__ import annotations

import os
import pickle
import sys
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from nerf_ssim.errors import CheckpointError
from nerf_ssim.files import atomic_file, file_errors, remove_leftovers, sync_folder
from nerf_ssim.runs.manifest import project_version

FORMAT = "nerf_ssim checkpoint"
FORMAT_VERSION = 1
REQUIRED = ("model", "iteration")
_RESERVED = ("format", "format_version", "project_version")
_PLAIN = (type(None), bool, int, float, str)


class TornCheckpoint(CheckpointError):
    """A checkpoint file that is damaged: cut short, overwritten, or not a checkpoint at all."""


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
    record = versions | _plain_copy(payload, "")
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
    record = _read(path)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a nerf_ssim checkpoint (it has no format mark)")
    if record.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: checkpoint format {record.get('format_version')}, this version reads {FORMAT_VERSION}; "
            f"it was written by nerf_ssim {record.get('project_version')}: use that version or train anew"
        )
    if missing := [key for key in (*REQUIRED, *required) if key not in record]:
        raise CheckpointError(f"{path}: the checkpoint has no {', '.join(missing)}; train anew")
    if model is not None and record["model"] != model:
        raise CheckpointError(
            f"{path}: the checkpoint holds a {record['model']}, this run is a {model}; "
            "give the model it was trained with or another --expname"
        )
    try:
        _plain_copy(record, "")
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
        places = [path, self.folder / "lasting" / path.name] if iteration in self.lasting else [path]
        for place in places:
            save_checkpoint(place, {"iteration": iteration, **payload})
        past = [other for other in self.paths() if int(other.stem) <= iteration]
        kept = set(past[-self.keep :])
        abandoned = [other for other in _numbered(self.folder / "lasting") if int(other.stem) > iteration]
        with file_errors(self.folder, "tidied", kind=CheckpointError, then="continue with --resume"):
            for other in [*self.paths(), *abandoned]:
                if other not in kept:
                    other.unlink(missing_ok=True)
            sync_folder(self.folder)
        return path

    def clear(self) -> None:
        """Remove every checkpoint, for a run that starts anew in an old one's folder: a kill before its first save
        must not leave the old run's state to be resumed as its own."""
        if self.folder.is_dir():
            for path in [*self.paths(), *_numbered(self.folder / "lasting"), *remove_leftovers(self.folder, "*.pt")]:
                path.unlink(missing_ok=True)
            sync_folder(self.folder)

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


def _plain_copy(value: Any, where: str) -> Any:
    """`value` with tensors made compact and dicts made plain; TypeError at the first thing that isn't plain."""
    # Exact types: a subclass (numpy.float64, IntEnum, Parameter) would pickle as a reference to its class.
    if type(value) in _PLAIN:
        return value
    if type(value) in (Tensor, torch.nn.Parameter):
        tensor = value.detach().cpu()
        whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        return tensor if whole else tensor.clone()
    if type(value) in (list, tuple):
        return type(value)(_plain_copy(item, f"{where}[{index}]") for index, item in enumerate(value))
    if isinstance(value, dict):  # an OrderedDict too: what state_dict() gives; copied to a plain one
        copy = {}
        for key, item in value.items():
            if type(key) not in (str, int):
                raise TypeError(
                    f"{where or 'payload'}: key {key!r} is a {type(key).__name__}; only str and int are saved"
                )
            copy[key] = _plain_copy(item, f"{where}.{key}" if where else str(key))
        return copy
    raise TypeError(
        f"{where or 'payload'}: {type(value).__name__} can't be in a checkpoint; "
        "only tensors, None, bool, int, float, str, list, tuple and dict"
    )


def _read(path: Path) -> Any:
    """The file's record, with its checksums verified: torch's own reader doesn't look at them."""
    torn = f"{path}: the checkpoint is damaged or cut short"
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise TornCheckpoint(torn) from error
    except OSError as error:
        raise CheckpointError(f"{path}: the checkpoint can't be read ({error.strerror or error})") from error
    if damaged is not None:
        raise TornCheckpoint(torn)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: the file holds more than tensors and plain values, so it was not loaded; "
            "it is no checkpoint of this project"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise TornCheckpoint(torn) from error
    except OSError as error:
        raise CheckpointError(f"{path}: the checkpoint can't be read ({error.strerror or error})") from error


def _warn_on_stderr(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr)
