"""The figures that `docs/data/tables.yaml` declares, from the CSV files of sweeps."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nerf_ssim.errors import ConfigError
from nerf_ssim.experiments.evidence.charts import Line, Panel, chart
from nerf_ssim.experiments.evidence.collect import Row, read_table
from nerf_ssim.experiments.evidence.declared import is_wanted, numbered, place, read_yaml
from nerf_ssim.experiments.paper.finished import moment_of
from nerf_ssim.experiments.sweep.rows import reduce_best

__all__ = ["FigureOf", "draw", "read_figures"]

KINDS = ("curves", "moments")


@dataclass(frozen=True)
class FigureOf:
    """One figure.

    Attributes:
        file: the CSV file of a sweep, by its name.
        kind: `curves` draws a logged score by updates, a line a schedule; `moments` a final score by the update at
            which SSIM is removed or added.
        caption: of the picture.
        score: the column that is drawn, and what its axis is called.
        panels: the columns that tell one panel from another.
        titles: of schedules, in their order.
        where: values that a row must have, by column.
        is_log: whether updates are drawn by equal factors.
        best: axes that are reduced to their best value, each with the score that decides.
    """

    file: str
    kind: str
    caption: str
    score: Mapping[str, str]
    panels: Sequence[str] = ("scene", "model")
    titles: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, Any] = field(default_factory=dict)
    is_log: bool = False
    best: Mapping[str, str] = field(default_factory=dict)


def read_figures(path: Path) -> dict[str, FigureOf]:
    """The figures of `tables.yaml`, by name; an unknown key or kind is a ConfigError with the figure's name."""
    found = {}
    for name, values in read_yaml(path).get("figures", {}).items():
        try:
            found[name] = FigureOf(**values)
        except TypeError as error:
            raise ConfigError(f"{path}: {name}: {error}") from error
        if found[name].kind not in KINDS:
            raise ConfigError(f"{path}: {name}: kind is one of {', '.join(KINDS)}")
    return found


def draw(figure: FigureOf, data: Path) -> str | None:
    """The figure as SVG; None where no run of it has a value yet."""
    suffix = "_curves" if figure.kind == "curves" else ""
    path = data / f"{figure.file}{suffix}.csv"
    if not path.is_file():
        return None
    ((score, y_label),) = figure.score.items()
    rows = [row for row in read_table(path) if row.get(score) and is_wanted(row, figure.where)]
    for axis, deciding in figure.best.items():
        rows = reduce_best(numbered([row for row in rows if row["state"] == "done"], [score, deciding]), axis, deciding)
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in figure.panels), []).append(row)
    lines_of = curves if figure.kind == "curves" else moments
    panels = [Panel(", ".join(names), lines_of(figure, of_panel, score)) for names, of_panel in groups.items()]
    panels = [panel for panel in panels if panel.lines]
    if not panels:
        return None
    x_label = "updates" if figure.kind == "curves" else "M, the update at which SSIM is removed or added"
    return chart(panels, x_label=x_label, y_label=y_label, is_log=figure.is_log or figure.kind == "moments")


def curves(figure: FigureOf, rows: Sequence[Row], score: str) -> list[Line]:
    """A line a schedule: the mean over its seeds at every update that they all have."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    for row in rows:
        found.setdefault(row["schedule"], {}).setdefault(int(row["updates"]), {})[row["seed"]] = float(row[score])
    lines = []
    for schedule in sorted(found, key=lambda name: place(figure.titles, name)):
        by_update = found[schedule]
        seeds = max(map(len, by_update.values()))
        shared = {at: list(values.values()) for at, values in by_update.items() if len(values) == seeds}
        lines.append(Line(figure.titles.get(schedule, schedule), [spanned(at, shared[at]) for at in sorted(shared)]))
    return lines


def moments(figure: FigureOf, rows: Sequence[Row], score: str) -> list[Line]:
    """Removal and addition by their moment, and lines for SSIM throughout and never where they were run."""
    of_schedule: dict[str, list[float]] = {}
    for row in rows:
        if row["state"] == "done":
            of_schedule.setdefault(row["schedule"], []).append(float(row[score]))
    lines = []
    for kind in ("remove", "add"):
        at = {moment: values for name, values in of_schedule.items() if (moment := moment_of(name, kind)) is not None}
        if at:
            lines.append(Line(f"{kind} at M", [spanned(moment, at[moment]) for moment in sorted(at)]))
    ends = sorted(x for line in lines for x, *_ in line.points)
    for name in ("with", "without"):
        if name in of_schedule and ends:
            level = [spanned(moment, of_schedule[name]) for moment in (ends[0], ends[-1])]
            lines.insert(0, Line(figure.titles.get(name, name), level))
    return lines


def spanned(at: float, values: Sequence[float]) -> tuple[float, float, float, float]:
    """A point: the mean over seeds, and the least and the greatest."""
    return at, statistics.fmean(values), min(values), max(values)
