"""What came of a sweep: one row a run, and the mean and the spread over seeds."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from nerf_ssim.experiments.report.layout import table
from nerf_ssim.experiments.sweep.runs import PlannedRun
from nerf_ssim.experiments.sweep.state import read_json, standing_of
from nerf_ssim.files import atomic_file

__all__ = ["FACTS", "Row", "mean_and_spread", "reduce_best", "row_of", "summary", "write_rows"]

Row = dict[str, Any]

COST_LEVELS = ("50", "55", "60")
FACTS = ("seconds", "device", "processor", "threads", "torch", "version", "commit", "starts", "processors_before")
"""The columns that say how a run was made: they may differ between two sweeps with the same results."""

TITLES_OF_FITS = {
    "psnr_best": "best PSNR dB",
    "step_best": "at step",
    **{f"cost_{m}": f"cost_{m}" for m in COST_LEVELS},
}


def row_of(run: PlannedRun) -> Row:
    """What the folder of a run says: what it is, its state, its scores, and how they were made."""
    standing, results = standing_of(run), read_json(run.folder / "results.json")
    manifest = read_json(run.folder / str(results.get("fit", "")) / "manifest.json")
    is_done = standing.state == "done"
    scores = {**results, **{f"cost_{level}": results.get("cost", {}).get(level) for level in COST_LEVELS}}
    resumed, machine = manifest.get("resumed", []), manifest.get("machine", {})
    processor = machine.get("gpu") or machine.get("cpu")
    before = {start.get("processor_before") for start in resumed} - {machine.get("cpu"), None}
    return {
        "index": run.index,
        **run.names,
        "label": results.get("label"),
        "state": standing.state,
        "ended": results.get("ended"),
        "updates": standing.updates,
        "removed_at": results.get("schedule", {}).get("removed_at"),
        "learning_rate": results.get("lr"),
        **{score: scores.get(score) if is_done else None for score in score_columns()},
        "config_hash": run.config_hash,
        "seconds": standing.seconds or None,
        "device": manifest.get("device"),
        "processor": processor,
        "threads": manifest.get("threads", {}).get("intra_op"),
        "torch": manifest.get("torch"),
        "version": manifest.get("version"),
        "commit": _commit(manifest.get("git")),
        "starts": 1 + len(resumed) if manifest else 0,
        "processors_before": "; ".join(sorted(before)) or None,
        "folder": str(run.folder),
    }


@cache
def score_columns() -> dict[str, str]:
    """The title of each score by its column: every metric of runs on scenes, then those of fits."""
    # Imported here: what lists or starts runs does not wait for torch.
    from nerf_ssim.evaluation.scores import METRICS, score_titles

    return {**dict(zip(METRICS, score_titles(), strict=True)), **TITLES_OF_FITS}


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Writes rows as CSV, whole or not at all; columns that no row has a value for stay, empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic_file(path) as file:
        file.write(text.getvalue().encode())


def reduce_best(rows: Iterable[Row], axis: str, score: str) -> list[Row]:
    """The rows of the best value of `axis`, chosen by the mean of `score` over seeds for each set of the other axes.

    A cost is the better the lower, and worst where a seed never arrived; a PSNR is the better the higher.
    """
    groups: dict[tuple[Any, ...], dict[str, list[Row]]] = {}
    for row in rows:
        others = tuple(row[name] for name in _axes(row) if name not in ("seed", axis))
        groups.setdefault(others, {}).setdefault(row[axis], []).append(row)
    best = (min(values.values(), key=lambda of_value: _rank(of_value, score)) for values in groups.values())
    return [row for of_value in best for row in of_value]


def summary(rows: Iterable[Row], best: Mapping[str, str]) -> str:
    """Markdown: by scene, model and schedule, the mean over the seeds that are done and their standard deviation."""
    rows = [row for row in rows if row["state"] == "done"]
    for axis, score in best.items():
        rows = reduce_best(rows, axis, score)
    axes = [axis for axis in _axes(rows[0]) if axis != "seed"] if rows else ["scene", "model", "schedule"]
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[axis] for axis in axes), []).append(row)
    titles = score_columns()
    shown = [score for score in titles if any(row[score] is not None for row in rows)]
    lines = [
        [*group, len(of_group), *(mean_and_spread([row[score] for row in of_group]) for score in shown)]
        for group, of_group in groups.items()
    ]
    header = [f"best {axis}" if axis in best else axis for axis in axes]
    return table([*header, "seeds", *(titles[score] for score in shown)], lines)


def mean_and_spread(values: Sequence[float | None]) -> str | None:
    """`mean ± standard deviation` of what is there; how many of how many where some are missing."""
    there = [value for value in values if value is not None and math.isfinite(value)]
    if not there:
        return None
    digits = 4 if abs(max(there)) < 1 else 2
    text = f"{statistics.fmean(there):.{digits}f}"
    if len(there) > 1:
        text += f" ± {statistics.stdev(there):.{digits}f}"
    return text if len(there) == len(values) else f"{text} ({len(there)} of {len(values)})"


def _axes(row: Row) -> list[str]:
    names = list(row)
    return names[1 : names.index("label")]


def _rank(rows: Sequence[Row], score: str) -> float:
    is_cost = score.startswith("cost")
    values = [row[score] for row in rows]
    if not is_cost:
        return -statistics.fmean(-math.inf if value is None else value for value in values)
    return statistics.fmean(math.inf if value is None else value for value in values)


def _commit(git: Mapping[str, Any] | None) -> str | None:
    return None if not git else str(git.get("sha"))[:12] + ("+" if git.get("dirty") else "")
