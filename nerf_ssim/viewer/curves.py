"""The chart beside the picture: one measurement of the run by updates, or PSNR of both splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import viser

__all__ = ["Curves"]

PSNR = "PSNR"
PSNR_COLUMNS = ("psnr_train", "psnr_test")
COLORS = ("#6ea8fe", "#f0ad4e")
NONE = np.array([0.0, 1.0])
NO_CURVE = "nothing was measured"

Columns = dict[str, NDArray[np.float64]]


class Curves:
    """A chart and the list of what it can show; `gui` is a server's."""

    def __init__(self, gui: viser.GuiApi) -> None:
        self._gui = gui
        self._columns: Columns = {}
        self._chosen = gui.add_dropdown("curve", (PSNR,), initial_value=PSNR)
        self._chosen.on_update(lambda event: self._draw())
        self._chart: Any = None

    def update(self, columns: Columns | None) -> None:
        """Takes the columns of `metrics.csv`; None where nothing is new."""
        if columns is None or "iteration" not in columns:
            return
        self._columns = columns
        measured = [name for name, values in columns.items() if name != "iteration" and np.isfinite(values).sum() > 1]
        options = (PSNR, *measured)
        if tuple(self._chosen.options) != options:
            self._chosen.options = options
        self._draw()

    def _draw(self) -> None:
        names = [name for name in self._names() if name in self._columns]
        if not names:
            return
        data, names = aligned(self._columns, names)
        series: Any = ({"label": "updates"}, *_series(names))
        updates = (float(data[0][0]), float(max(data[0][-1], data[0][0] + 1)))
        # The x axis counts updates; uPlot would take it for seconds of a clock.
        scales: Any = {"x": {"time": False, "auto": True, "range": updates}, "y": {"range": _extent(data[1:])}}
        if self._chart is not None and len(self._chart.series) == len(series):
            self._chart.data, self._chart.series, self._chart.scales = data, series, scales
            return
        if self._chart is not None:
            self._chart.remove()
        self._chart = self._gui.add_uplot(data, series, scales=scales, aspect=1.4)

    def _names(self) -> tuple[str, ...]:
        return PSNR_COLUMNS if self._chosen.value == PSNR else (self._chosen.value,)


def aligned(columns: Columns, names: list[str]) -> tuple[tuple[NDArray[np.float64], ...], list[str]]:
    """Updates and the columns of `names` where one of them was measured, gaps filled between a column's own values.

    Before its first and after its last value a column is NaN; one without any is left out.
    """
    names = [name for name in names if np.isfinite(columns[name]).any()]
    if not names:
        return (NONE, NONE * np.nan), [NO_CURVE]
    is_measured = np.any([np.isfinite(columns[name]) for name in names], axis=0)
    updates = columns["iteration"][is_measured]
    curves = []
    for name in names:
        values = columns[name][is_measured]
        known = np.isfinite(values)
        filled = np.interp(updates, updates[known], values[known], left=np.nan, right=np.nan)
        curves.append(filled)
    return (updates, *curves), names


def _extent(curves: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """The least and the greatest value, with some room; uPlot finds none, and draws nothing, where one is NaN."""
    known = np.concatenate([values[np.isfinite(values)] for values in curves])
    if not len(known):
        return 0.0, 1.0
    least, greatest = float(known.min()), float(known.max())
    room = 0.05 * (greatest - least) or 0.05 * abs(greatest) or 1.0
    return least - room, greatest + room


def _series(names: list[str]) -> list[dict[str, Any]]:
    return [{"label": name, "stroke": color, "width": 2} for name, color in zip(names, COLORS, strict=False)]
