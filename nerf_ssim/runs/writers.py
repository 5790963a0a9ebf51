"""Copies of what a run measures for other programs, such as TensorBoard: optional, and never the end of a training.

A further program is a class with `write` and `close` in a module of its own, and an entry of `WRITERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nerf_ssim.errors import explain_os_error

__all__ = ["WRITERS", "Copies", "Destination", "Writer"]


class Writer(Protocol):
    """What takes the figures of a run; any exception ends it, and nothing else."""

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Takes the figures of an iteration, by name."""

    def close(self) -> None:
        """Writes what is left."""


@dataclass(frozen=True)
class Destination:
    """Which run it is: its folder, its options by name, and the updates done before this start (None: it is new)."""

    folder: Path
    options: Mapping[str, Any]
    resume_iteration: int | None = None


class Copies:
    """The writers of a run. One that fails is named once, with its reason, and the others go on.

    Args:
        names: of `WRITERS`.
        warn: takes a line of text.
    """

    def __init__(self, names: Sequence[str], destination: Destination, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._writers: dict[str, Writer] = {}
        for name in names:
            try:
                writer = WRITERS[name](destination)
            except Exception as error:  # noqa: BLE001 - other people's programs raise anything
                self._warn(_stopped(name, error))
                continue
            if writer is not None:
                self._writers[name] = writer

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Gives every writer the figures of an iteration."""
        for name in list(self._writers):
            try:
                self._writers[name].write(values, step)
            except Exception as error:  # noqa: BLE001
                self._warn(_stopped(name, error))
                self._drop(name)

    def close(self) -> None:
        """Ends every writer."""
        for name in list(self._writers):
            try:
                self._writers.pop(name).close()
            except Exception as error:  # noqa: BLE001
                self._warn(_stopped(name, error))

    def _drop(self, name: str) -> None:
        try:
            self._writers.pop(name).close()
        except Exception:  # noqa: BLE001, S110 - it has been said that it stopped
            pass


def open_tensorboard(destination: Destination) -> Writer | None:
    """TensorBoard's file in `<run>/tensorboard`; None where TensorBoard is not installed, for it is the default."""
    try:
        # Imported here because it is optional and slow. A protobuf of another age raises the other two.
        from nerf_ssim.runs.events import PATTERN, EventFile
    except (ImportError, TypeError, AttributeError):
        return None
    folder = destination.folder / "tensorboard"
    if destination.resume_iteration is None:
        for old in folder.glob(PATTERN):  # of the run that a fresh one replaces
            old.unlink(missing_ok=True)
    return EventFile(folder, purge_step=destination.resume_iteration)


def open_wandb(destination: Destination) -> Writer:
    """A run of Weights & Biases in `<run>/wandb`, offline where WANDB_MODE does not say otherwise."""
    from nerf_ssim.runs.wandb_run import WandbRun  # imported here because it is optional and slow

    return WandbRun(destination.folder, destination.options, is_new=destination.resume_iteration is None)


WRITERS: Mapping[str, Callable[[Destination], Writer | None]] = {"tensorboard": open_tensorboard, "wandb": open_wandb}

_TITLES = {"tensorboard": "TensorBoard's events end", "wandb": "what Weights & Biases is given ends"}


def _stopped(name: str, error: Exception) -> str:
    if isinstance(error, ImportError) and error.name == name:
        reason = "it is not installed: pip install 'nerf_ssim[log]'"
    elif isinstance(error, OSError):
        reason = explain_os_error(error)
    else:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return f"{_TITLES[name]} here ({reason}); metrics.csv goes on"
