"""What sweeps found, as files that outlive their runs: one row a run, and thinned curves."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nerf_ssim.errors import ConfigError
from nerf_ssim.experiments.report.layout import metrics_columns
from nerf_ssim.experiments.report.thinning import rows_to_keep
from nerf_ssim.experiments.sweep.rows import write_rows
from nerf_ssim.experiments.sweep.state import newest_log, read_json

__all__ = ["Collected", "collect", "read_table"]

LEFT_OUT = ("starts", "folder")
"""Columns of a sweep's `runs.csv` that say nothing once its folder is gone."""

CURVES = ("seconds", "psnr_train", "psnr_test", "psnr", "luminance", "structure", "opacity")
SCORED = ("psnr_test",)
STATES = ("begun", "done")
BOUNDS = ("index", "label")
"""Columns between which the names of a run stand: they stay where they are empty."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Collected:
    """How many runs of a sweep are in its file now, and how many of them came or changed by this collection."""

    name: str
    runs: int
    taken: int


def collect(sweep: Path, data: Path, *, points: int = 40) -> Collected:
    """Takes every run of a sweep that has begun into `data/<sweep>.csv`, and its curves into `data/<sweep>_curves.csv`.

    A run that is in the files already is replaced by one of the same names that is at least as far. Runs that are gone
    from the sweep's folder stay in the files.

    Args:
        sweep: the sweep's folder, which holds its `runs.csv`.
        points: of a curve, beside the moments at which test views were scored; 0 keeps no curves.
    Raises:
        ConfigError: a folder without `runs.csv`, or one that no run has begun in.
    """
    found = read_table(sweep / "runs.csv")
    axes = axes_of(found)
    target, target_of_curves = data / f"{sweep.name}.csv", data / f"{sweep.name}_curves.csv"
    before = {names_of(row, axes): row for row in read_table(target)} if target.is_file() else {}
    curves: dict[tuple[str, ...], list[Row]] = {}
    for row in read_table(target_of_curves) if points and target_of_curves.is_file() else []:
        curves.setdefault(names_of(row, axes), []).append(row)
    rows, taken = dict(before), 0
    for row in found:
        if row["state"] not in STATES:
            continue
        names, folder = names_of(row, axes), folder_of(row, sweep)
        columns = metrics_columns(folder)
        if row["state"] == "begun":  # and has gone on since runs.csv was written
            row = row | {"updates": str(max([int(row["updates"]), *updates_of(columns)[-1:]]))}
        if is_behind(row, before.get(names)):
            continue
        manifest = read_json(folder / "manifest.json")
        label = row["label"] or manifest.get("scene", {}).get("label") or ""  # a run under way has no results yet
        rows[names] = kept(row) | {"label": label, "backend": backend_of(manifest)}
        taken += filled(rows[names]) != filled(before.get(names, {}))
        if points:
            curves[names] = curve_rows(dict(zip(axes, names, strict=True)), columns, points)
    if not rows:
        raise ConfigError(f"{sweep}: no run of it has begun")
    order = {names_of(row, axes): place for place, row in enumerate(found)}
    ordered = sorted(rows, key=lambda names: (order.get(names, len(order)), names))
    data.mkdir(parents=True, exist_ok=True)
    write_rows(without_empty_columns([rows[names] for names in ordered]), target)
    if points:
        flat = [row for names in ordered for row in curves.get(names, ())]
        write_rows(without_empty_columns(flat), target_of_curves)
    return Collected(sweep.name, len(rows), taken)


def read_table(path: Path) -> list[Row]:
    """The rows of a CSV file, all cells as text.

    Raises:
        ConfigError: a file that cannot be read.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def axes_of(rows: Sequence[Row]) -> list[str]:
    """The columns of `runs.csv` that name a run: scene, model, schedule, seed and the sweep's own."""
    names = list(rows[0]) if rows else []
    return names[names.index(BOUNDS[0]) + 1 : names.index(BOUNDS[1])]


def names_of(row: Row, axes: Sequence[str]) -> tuple[str, ...]:
    """What a run is called on each axis."""
    return tuple(row[axis] for axis in axes)


def is_behind(row: Row, before: Row | None) -> bool:
    """Whether what is kept of a run is further than `row`; a finished run gives way to a finished one alone."""
    if before is None:
        return False
    return (row["state"] == "done", int(row["updates"])) < (before["state"] == "done", int(before["updates"]))


def kept(row: Row) -> Row:
    """The columns that stay."""
    return {name: value for name, value in row.items() if name not in LEFT_OUT}


def folder_of(row: Row, sweep: Path) -> Path:
    """Where a run is now: the sweep may have been moved since.

    Of a search for a rate it is the folder of its best fit or, before there is one, of the fit that is under way.
    """
    folder = sweep / row["folder"].rpartition(f"/{sweep.name}/")[2]
    if best := read_json(folder / "results.json").get("fit"):
        return folder / str(best)
    log = newest_log(folder)
    return folder if log is None else log.parent


def backend_of(manifest: Mapping[str, Any]) -> str:
    """`native`, or the operations that something else served: `native; reference: decode_color`."""
    served: dict[str, list[str]] = {}
    for operation, how in sorted(manifest.get("backend", {}).items()):
        served.setdefault(how["implementation"], []).append(operation)
    usual = max(served, key=lambda name: len(served[name]), default="")
    others = [f"{name}: {', '.join(operations)}" for name, operations in served.items() if name != usual]
    return "; ".join([usual, *others])


def curve_rows(names: Mapping[str, str], columns: Mapping[str, Sequence[float | None]], points: int) -> list[Row]:
    """The thinned log of a run; `updates` are those done at each row."""
    updates = updates_of(columns)
    chosen = [name for name in CURVES if name in columns]
    places = rows_to_keep([columns[name] for name in SCORED if name in columns], len(updates), points)
    return [
        {**names, "updates": updates[place], **{name: short(columns[name][place]) for name in chosen}}
        for place in places
    ]


def updates_of(columns: Mapping[str, Sequence[float | None]]) -> list[int]:
    """The updates done at each row of a log."""
    after_row = 0 if "psnr" in columns else 1  # a fit's row is of the state before its update
    return [int(at) + after_row for at in columns.get("iteration", []) if at is not None]


def short(value: float | None) -> str:
    """A figure with five digits, which is more than a plot shows."""
    return "" if value is None else f"{value:.5g}"


def filled(row: Row) -> Row:
    """The cells that have a value."""
    return {name: value for name, value in row.items() if value not in (None, "")}


def without_empty_columns(rows: Sequence[Row]) -> list[Row]:
    """The rows with all columns of any of them that has a value somewhere, in one order."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    used = [name for name in names if name in BOUNDS or any(row.get(name) not in (None, "") for row in rows)]
    return [{name: row.get(name, "") for name in used} for row in rows]
