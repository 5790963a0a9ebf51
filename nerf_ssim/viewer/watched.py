"""The run that is looked at: its newest checkpoint, its photographs, and what it measures."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerf_ssim.datasets.loading import load_scene
from nerf_ssim.datasets.scene import Scene, Views, data_difference
from nerf_ssim.errors import SceneError, UserError
from nerf_ssim.files import csv_cells, read_bytes
from nerf_ssim.runs.checkpoints import CheckpointFolder
from nerf_ssim.runs.metrics_log import NAME as METRICS
from nerf_ssim.training.trained import Trained, load_trained

__all__ = ["WatchedRun"]

MOST_ROWS = 2000  # that a curve shows: more are not told apart on a screen


class WatchedRun:
    """A run, open at its newest checkpoint.

    Args:
        folder: the run's folder.
        datadir: where its scene is now, if it has moved.
        checkpoint: the one to look at; None for the newest, and for newer ones as they come.
    Attributes:
        trained: the field and its cameras.
    Raises:
        UserError: no run there, no checkpoint yet, or one that cannot be read.
    """

    def __init__(self, folder: Path, *, datadir: str | None = None, checkpoint: Path | None = None) -> None:
        self.folder, self.datadir, self.checkpoint = folder, datadir, checkpoint
        self._seen: Path | None = None
        self._photographs: Scene | None = None
        self._metrics_at = 0
        self.trained: Trained = self._opened()

    def refresh(self) -> bool:
        """Opens a newer checkpoint where there is one; whether there was.

        A checkpoint that cannot be read, such as one that the training removes at this moment, is passed over.
        """
        if self.checkpoint is not None or self._newest() == self._seen:
            return False
        try:
            self.trained = self._opened()
        except UserError:
            return False
        return True

    def photograph(self, split: str, index: int) -> NDArray[np.uint8]:
        """The photograph of a camera, `[height, width, 3]`; the first call reads the data set.

        Raises:
            SceneError: the data set is not there, damaged, or not the one that the run was trained on.
        """
        if self._photographs is None:
            own = self.trained.scene
            scene = own if own.has_images else load_scene(self.trained.config.data)
            if difference := data_difference(own, scene):
                folder = self.trained.config.data.datadir
                raise SceneError(f"{folder}: is not the data that the run was trained on ({difference})")
            self._photographs = scene
        views: Views = getattr(self._photographs, split)
        return views.image_of(index).cpu().numpy()

    def curves(self) -> dict[str, NDArray[np.float64]] | None:
        """The columns of `metrics.csv`, NaN where nothing was measured; None where it has not grown since last time.

        Of a long run evenly chosen rows are given, and the last.
        """
        path = self.folder / METRICS
        try:
            size = path.stat().st_size
            if size == self._metrics_at:
                return None
            text = read_bytes(path).decode(errors="replace")
        except OSError:  # a run that was imported has measured nothing
            return None
        self._metrics_at = size
        header, *rows = map(csv_cells, text[: text.rfind("\n") + 1].splitlines()) if "\n" in text else [[]]
        rows = [row for row in rows if len(row) == len(header)]
        chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST_ROWS)).round().astype(int))
        return {
            name: np.array([_number(rows[index][column]) for index in chosen]) for column, name in enumerate(header)
        }

    def _newest(self) -> Path | None:
        paths = CheckpointFolder(self.folder).paths()
        return paths[-1] if paths else None

    def _opened(self) -> Trained:
        newest = self._newest()
        trained = load_trained(
            self.folder, datadir=self.datadir, checkpoint=self.checkpoint, needs_images=self.datadir is not None
        )
        self._seen = newest
        return trained


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
