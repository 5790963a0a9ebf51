"""Runs on scenes side by side: what they scored, after how many updates and how much time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nerf_ssim.errors import ConfigError
from nerf_ssim.evaluation.protocol import SCORE_COLUMNS
from nerf_ssim.experiments.reporting import load_pyplot, metrics_rows, save_figure, table

__all__ = ["ReportedRun", "draw_psnr", "load_runs", "report"]


@dataclass(frozen=True)
class ReportedRun:
    """What one run left.

    Attributes:
        name: its folder's name, or the whole path where two runs share that.
        columns: of `metrics.csv`.
        results: of its scored states (`results.json`, and those of `nerf-ssim evaluate RUN --checkpoint`), in the order
            of updates.
    """

    name: str
    columns: Mapping[str, Sequence[float | None]]
    results: Sequence[Mapping[str, Any]]

    def curve(self, column: str) -> list[tuple[int, float, float]]:
        """(updates, seconds of training, value) wherever `column` has a value."""
        rows = zip(self.columns["iteration"], self.columns["seconds"], self.columns[column], strict=True)
        return [(int(iteration) + 1, seconds, value) for iteration, seconds, value in rows if value is not None]


def load_runs(folders: Sequence[Path]) -> list[ReportedRun]:
    """The runs in `folders`, in that order.

    Raises:
        ConfigError: a folder that holds no run on a scene, or one that has logged nothing yet.
    """
    names = [folder.resolve().name for folder in folders]
    return [
        _load_run(folder, name if names.count(name) == 1 else str(folder))
        for folder, name in zip(folders, names, strict=True)
    ]


def _load_run(folder: Path, name: str) -> ReportedRun:
    if not (folder / "metrics.csv").is_file():
        raise ConfigError(f"{folder}: holds no run (there is no metrics.csv); give a run's folder, such as runs/room")
    columns = metrics_rows(folder)
    if not columns:
        raise ConfigError(f"{folder}: the run has logged nothing yet")
    if "psnr_test" not in columns:
        raise ConfigError(f"{folder}: is no run on a scene; python -m nerf_ssim.experiments reports fits of pictures")
    found = [json.loads(path.read_text()) for path in (*folder.glob("results.json"), *folder.glob("*/results.json"))]
    return ReportedRun(name, columns, sorted(found, key=lambda results: results["stopped_at"]))


def report(runs: Sequence[ReportedRun]) -> str:
    """Markdown: test PSNR as it was scored under way, and the scores of whole test splits."""
    under_way = "# Test PSNR (dB) after so many updates, and the seconds of training until then\n\n" + _under_way(runs)
    if not any(run.results for run in runs):
        return under_way
    return under_way + "\n# Scores of the test split\n\n" + _scored(runs)


def _under_way(runs: Sequence[ReportedRun]) -> str:
    curves = [
        {updates: f"{psnr:.2f} ({seconds:,.0f} s)" for updates, seconds, psnr in run.curve("psnr_test")} for run in runs
    ]
    moments = sorted(set().union(*curves))
    rows = ([run.name, *map(curve.get, moments)] for run, curve in zip(runs, curves, strict=True))
    return table(["run", *map(str, moments)], rows)


def _scored(runs: Sequence[ReportedRun]) -> str:
    rows = [
        [run.name, results["label"], results["stopped_at"], _digits(results["seconds_train"], 0)]
        + [_digits(results[key], digits) for key, _, digits in SCORE_COLUMNS]
        for run in runs
        for results in run.results
    ]
    return table(["run", "label", "updates", "seconds", *(title for _, title, _ in SCORE_COLUMNS)], rows)


def _digits(value: float | None, digits: int) -> str | None:
    return None if value is None else f"{value:,.{digits}f}"


def draw_psnr(runs: Sequence[ReportedRun], path: Path) -> None:
    """Draw PSNR of the test views (points) and of the training batches (thin) over updates and over time.

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(1, 2, figsize=(12, 4.5), sharey=True)
    for number, run in enumerate(runs):
        for axis, position, unit in zip(axes, (0, 1), (1, 60), strict=True):
            for column, style in (("psnr_train", {"linewidth": 0.5, "alpha": 0.4}), ("psnr_test", {"marker": "o"})):
                points = run.curve(column)
                label = run.name if column == "psnr_test" else None
                x, y = [point[position] / unit for point in points], [point[2] for point in points]
                axis.plot(x, y, color=f"C{number % 10}", label=label, **style)
    axes[0].set(xlabel="updates", ylabel="PSNR (dB): test views (points), training batches (thin)")
    axes[1].set(xlabel="minutes of training")
    axes[0].legend()
    save_figure(figure, path)
