"""Runs on scenes side by side: what they scored, after how many updates and how much time."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nerf_ssim.errors import ConfigError
from nerf_ssim.evaluation.scores import score_cells, score_titles
from nerf_ssim.experiments.report.layout import load_pyplot, metrics_columns, save_figure, table

__all__ = ["ReportedRun", "draw_psnr", "load_runs", "report"]

COLUMNS = ("iteration", "seconds", "psnr_train", "psnr_test")
RESULTS = ("label", "stopped_at", "schedule", "seconds_train", "ssim_variant", "psnr")


@dataclass(frozen=True)
class ReportedRun:
    """What one run left.

    Attributes:
        name: its folder's name, or the path as it was given where two runs share that.
        columns: of `metrics.csv`.
        results: of its scored states (`results.json`, and those of `nerf-ssim evaluate RUN --checkpoint`), in the order
            of updates.
    """

    name: str
    columns: Mapping[str, Sequence[float | None]]
    results: Sequence[Mapping[str, Any]]

    def curve(self, column: str) -> list[tuple[int, float, float]]:
        """(updates, seconds of training, value) wherever `column` has a value."""
        rows = zip(*(self.columns[name] for name in ("iteration", "seconds", column)), strict=True)
        return [
            (int(iteration) + 1, seconds, value) for iteration, seconds, value in rows if None not in (seconds, value)
        ]


def load_runs(folders: Sequence[Path]) -> list[ReportedRun]:
    """The runs in `folders`, in that order; one that is given twice counts once.

    Raises:
        ConfigError: a folder that holds no run on a scene, one that has logged nothing yet, or files that are damaged.
    """
    places: dict[str, Path] = {}
    for folder in folders:
        places.setdefault(os.path.abspath(folder), folder)
    names = [os.path.basename(place) for place in places]
    return [
        _load_run(folder, name if names.count(name) == 1 else str(folder))
        for folder, name in zip(places.values(), names, strict=True)
    ]


def _load_run(folder: Path, name: str) -> ReportedRun:
    if not (folder / "metrics.csv").is_file():
        raise ConfigError(f"{folder}: holds no run (there is no metrics.csv); give a run's folder, such as runs/room")
    columns = metrics_columns(folder)
    if not columns:
        raise ConfigError(f"{folder}: the run has logged nothing yet")
    if missing := [column for column in COLUMNS if column not in columns]:
        raise ConfigError(
            f"{folder}: is no run on a scene (its metrics.csv has no {', '.join(missing)}); "
            "python -m nerf_ssim.experiments reports fits of pictures"
        )
    paths = [*folder.glob("results.json"), *sorted(folder.glob("evaluation_*/results.json"))]
    return ReportedRun(name, columns, sorted(map(_load_results, paths), key=lambda results: results["stopped_at"]))


def _load_results(path: Path) -> dict[str, Any]:
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); score the run again with nerf-ssim evaluate") from error
    missing = [key for key in RESULTS if key not in results] if isinstance(results, dict) else RESULTS
    if missing:
        raise ConfigError(f"{path}: has no {', '.join(missing)}; score the run again with nerf-ssim evaluate")
    return results


def report(runs: Sequence[ReportedRun]) -> str:
    """Markdown: PSNR of the views that were scored under way, and the scores of whole test splits."""
    text = _under_way(runs)
    return text + "\n" + _scored(runs) if any(run.results for run in runs) else text


def _under_way(runs: Sequence[ReportedRun]) -> str:
    curves = [
        {updates: f"{psnr:.2f} ({seconds:,.0f} s)" for updates, seconds, psnr in run.curve("psnr_test")} for run in runs
    ]
    moments = sorted(set().union(*curves))
    if not moments:
        return "No test view was scored under way.\n"
    rows = ([run.name, *map(curve.get, moments)] for run, curve in zip(runs, curves, strict=True))
    title = "# PSNR (dB) of the test views scored under way, by updates; seconds of training"
    return f"{title}\n\n{table(['run', *map(str, moments)], rows)}"


def _scored(runs: Sequence[ReportedRun]) -> str:
    rows = []
    for run in runs:
        for results in run.results:
            seconds = results["seconds_train"]
            facts = [results["label"], _ssim_from_to(results["schedule"]), results["stopped_at"]]
            rows.append([run.name, *facts, None if seconds is None else f"{seconds:,.0f}", *score_cells(results)])
            rows[-1].append(results["ssim_variant"])
    header = ["run", "label", "SSIM loss", "updates", "seconds", *score_titles(), "SSIM as"]
    return f"# Scores of whole test splits\n\n{table(header, rows)}"


def _ssim_from_to(schedule: Mapping[str, Any]) -> str:
    """The updates with the SSIM term, as they turned out."""
    if not schedule["weight"]:
        return "never"
    end = schedule["remove_at"] if schedule["removed_at"] is None else schedule["removed_at"]
    return f"{schedule['add_at']} to {end}"


def draw_psnr(runs: Sequence[ReportedRun], path: Path) -> None:
    """Draw PSNR of the test views (points) and of the training batches (thin) over updates and over time.

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(1, 2, figsize=(12, 4.5), sharey=True)
    colors = pyplot.get_cmap("tab10" if len(runs) <= 10 else "turbo", max(len(runs), 10))
    for number, run in enumerate(runs):
        for axis, position, unit in zip(axes, (0, 1), (1, 60), strict=True):
            for column, style in (("psnr_train", {"linewidth": 0.5, "alpha": 0.4}), ("psnr_test", {"marker": "o"})):
                points = run.curve(column)
                label = run.name if column == "psnr_test" else None
                x, y = [point[position] / unit for point in points], [point[2] for point in points]
                axis.plot(x, y, color=colors(number), label=label, **style)
    axes[0].set(xlabel="updates", ylabel="PSNR (dB): test views (points), training batches (thin)")
    axes[1].set(xlabel="minutes of training")
    axes[0].legend()
    save_figure(figure, path)
