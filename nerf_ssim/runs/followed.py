"""A run's folder as a process sees it that trains along and leaves the writing to another."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nerf_ssim.runs.checkpoints import CheckpointFolder, load_checkpoint
from nerf_ssim.runs.folder import C, RunFolder, run_path
from nerf_ssim.runs.metrics_log import NAME, MetricsLog

__all__ = ["FollowedFolder"]


class FollowedFolder(RunFolder[C]):
    """The folder of a run that another process holds; this one reads what it resumes from, and writes nothing.

    Args:
        config: the options as the process that holds the folder has settled them.
        resumed: the checkpoint that it continues; None where the run begins anew.
        model, required, lasting: as for `RunFolder`.
    Raises:
        CheckpointError: the checkpoint cannot be read here.
    """

    def __init__(
        self, config: C, resumed: Path | None, *, model: str, required: Sequence[str], lasting: Collection[int] = ()
    ) -> None:
        self.model, self.path, self.config = model, run_path(config.run), config
        self.changes, self.notes = {}, []
        self.checkpoints = CheckpointFolder(self.path, lasting=lasting)
        self.resumed = None
        if resumed is not None:
            self.resumed = resumed, load_checkpoint(resumed, model=model, required=("config", *required))

    def close(self) -> None:
        """Nothing: the folder was not taken."""

    @contextmanager
    def given_up_on_error(self) -> Iterator[None]:
        """Nothing: the folder is not this process's to give up."""
        yield

    def changed_circumstances(self) -> list[str]:
        """Nothing: the process that holds the folder tells people."""
        return []

    def open_log(
        self, *, data: dict[str, Any], columns: Sequence[str], precision: dict[str, dict[str, str]]
    ) -> MetricsLog:
        """A log whose rows go nowhere."""
        return UnwrittenLog(self.path / NAME, columns)

    def save(self, state: dict[str, Any], iteration: int) -> Path:
        """Where the process that holds the folder writes the checkpoint."""
        return self.checkpoints.path(iteration)


class UnwrittenLog(MetricsLog):
    """A log of these columns whose rows go nowhere."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self.columns = path, tuple(columns)

    def write(self, iteration: int, values: Mapping[str, float | None]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""
