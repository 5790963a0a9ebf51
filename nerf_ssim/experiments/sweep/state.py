"""How a run stands, read from its folder alone: another process may be at work there, or may have been killed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nerf_ssim.errors import ConfigError
from nerf_ssim.experiments.sweep.runs import PlannedRun
from nerf_ssim.files import csv_cells, open_regular, plain_value, read_bytes

__all__ = ["Standing", "newest_log", "read_json", "refuse_other_runs", "standing_of"]

State = Literal["new", "begun", "done", "other"]
"""Nothing there; some updates done; results of the whole run; the folder of a run with other options."""

TAIL_BYTES = 1 << 16


@dataclass(frozen=True)
class Standing:
    """How far a run is.

    Attributes:
        state: see `State`.
        updates: done and logged.
        seconds: of training until then.
        rate: updates a second over the last logged rows; None before there are two.
        psnr: the last PSNR logged, of test views before that of training batches; of a fit, of its picture.
        note: what differs, of a run with other options.
    """

    state: State
    updates: int = 0
    seconds: float = 0.0
    rate: float | None = None
    psnr: float | None = None
    note: str = ""


def standing_of(run: PlannedRun) -> Standing:
    """How `run` stands according to its folder."""
    if not run.folder.is_dir():
        return Standing("new")
    results = read_json(run.folder / "results.json")
    saved = results.get("options") or read_json(run.folder / "manifest.json").get("config") or {}
    if difference := _difference(run, saved):
        return Standing("other", note=difference)
    # A fit's row k is of the state after k updates, that of a run on a scene of update k itself.
    logged = _read_log(run.folder, 0 if run.command == "fit-image" else 1)
    is_whole = run.command == "fit-image" or int(results.get("stopped_at", 0)) >= run.updates
    if results and saved and is_whole:
        return Standing("done", int(results["stopped_at"]), _seconds(results), logged.rate, final_psnr(results))
    return logged


def refuse_other_runs(standings: Mapping[PlannedRun, Standing]) -> None:
    """Raises `ConfigError` where a folder holds a run with other options than the sweep has for it."""
    others = [(run, standing) for run, standing in standings.items() if standing.state == "other"]
    if others:
        run, standing = others[0]
        more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
        raise ConfigError(
            f"{run.folder}{more}: holds a run with other options ({standing.note}); give another --name, or move it"
        )


def final_psnr(results: Mapping[str, Any]) -> float | None:
    """The PSNR of results: of the test views, or the best one of a fit."""
    value = results.get("psnr", results.get("psnr_best"))
    return None if value is None else float(value)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one where there is no file, or none that can be read."""
    try:
        content = json.loads(read_bytes(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def newest_log(folder: Path) -> Path | None:
    """The newest `metrics.csv` of a run, or None; a search for a rate has one in the folder of each rate."""
    paths = [path for path in (folder / "metrics.csv", *folder.glob("lr_*/metrics.csv")) if path.is_file()]
    return max(paths, key=lambda path: path.stat().st_mtime, default=None)


def _difference(run: PlannedRun, saved: Mapping[str, Any]) -> str:
    """What differs between the options of a run and those saved in its folder; empty for nothing, or nothing saved."""
    if not saved:
        return ""
    was = dict(saved)
    if any(name not in saved for name in run.decisive):  # a run of before an option was there had it as by default
        was = {**run.config.defaults(run.config.to_dict()), **saved}
    changed = [
        f"{name} was {was[name]!r}, is {value!r}"
        for name, value in run.decisive.items()
        if value != plain_value(was[name])
    ]
    return "; ".join(changed[:3])


def _seconds(results: Mapping[str, Any]) -> float:
    return float(results.get("seconds_train") or 0.0)


def _read_log(folder: Path, after_row: int) -> Standing:
    """What the newest log says.

    Args:
        after_row: updates done at a row beyond its number.
    """
    log = newest_log(folder)
    if log is None:
        return Standing("new")
    rows = _last_rows(log)
    if not rows:
        return Standing("new")
    updates, seconds = int(rows[-1]["iteration"]) + after_row, _number(rows[-1].get("seconds")) or 0.0
    return Standing("begun", updates, seconds, _rate(rows), _last_psnr(rows))


def _last_rows(path: Path) -> list[dict[str, str]]:
    """The last whole rows of a log, by column."""
    try:
        with open_regular(path) as file:
            header = file.readline().decode()
            start = max(file.tell(), os.fstat(file.fileno()).st_size - TAIL_BYTES)
            is_inside = start > file.tell()
            file.seek(start)
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    lines = text[: text.rfind("\n") + 1].splitlines()[1 if is_inside else 0 :]
    columns = csv_cells(header)
    rows = [dict(zip(columns, cells, strict=True)) for cells in map(csv_cells, lines) if len(cells) == len(columns)]
    return [row for row in rows if row.get("iteration", "").isdecimal()]


def _rate(rows: list[dict[str, str]]) -> float | None:
    """Updates a second of training between the first and the last of the rows."""
    times = [(int(row["iteration"]), seconds) for row in rows if (seconds := _number(row.get("seconds"))) is not None]
    if len(times) < 2 or times[-1][1] <= times[0][1]:
        return None
    return (times[-1][0] - times[0][0]) / (times[-1][1] - times[0][1])


def _last_psnr(rows: list[dict[str, str]]) -> float | None:
    for column in ("psnr_test", "psnr", "psnr_train"):
        values = [value for row in rows if (value := _number(row.get(column))) is not None]
        if values:
            return values[-1]
    return None


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
