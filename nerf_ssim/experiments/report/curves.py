"""The report's figures: metrics by updates and by time, and luminance by updates, grouped by schedule."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

from nerf_ssim.evaluation.scores import METRICS
from nerf_ssim.experiments.report.layout import load_pyplot
from nerf_ssim.experiments.report.runs import Comparison, ReportedRun

__all__ = ["figures", "smoothed"]

Point = tuple[int, float, float]


def figures(comparison: Comparison) -> dict[str, bytes]:
    """By file name without ending, each figure as a PNG: a metric where at least one run has it, and luminance.

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    drawn = {}
    for name, metric in METRICS.items():
        column = f"{name}_test"
        if any(run.curve(column) or run.scored(name) for run in comparison.runs):
            drawn[name] = _draw(comparison, f"{metric.title} {metric.unit}".rstrip(), _test_curve(name, column))
    if any(run.curve("luminance") for run in comparison.runs):
        drawn["luminance"] = _draw(comparison, "mean S1 (luminance), smoothed", _monitor, by_time=False)
    return drawn


def smoothed(points: Sequence[Point], share: float = 0.02) -> list[Point]:
    """The running mean of values over a window of `share` of the points (at least one), each at its window's middle."""
    half = int(len(points) * share / 2)
    windows = (points[max(0, place - half) : place + half + 1] for place in range(len(points)))
    return [
        (updates, seconds, sum(value for _, _, value in window) / len(window))
        for (updates, seconds, _), window in zip(points, windows, strict=True)
    ]


def _test_curve(metric: str, column: str) -> Callable[[ReportedRun], Sequence[Point]]:
    """Scores under way where they were logged, else the states that were scored as a whole."""

    def points(run: ReportedRun) -> Sequence[Point]:
        logged = run.curve(column)
        scored = [(updates, seconds, value) for updates, seconds, value in run.scored(metric) if seconds is not None]
        return logged or scored

    return points


def _monitor(run: ReportedRun) -> Sequence[Point]:
    return smoothed(run.curve("luminance"))


def _draw(
    comparison: Comparison, label: str, points_of: Callable[[ReportedRun], Sequence[Point]], *, by_time: bool = True
) -> bytes:
    """One row a scene and model, by updates and by minutes, a colour a schedule; one legend outside the axes."""
    pyplot = load_pyplot()
    places = list(dict.fromkeys((run.scene, run.model) for run in comparison.runs if points_of(run)))
    columns = 2 if by_time else 1
    size = (5.2 * columns, 3.2 * len(places) + 0.6)
    figure, axes = pyplot.subplots(len(places), columns, figsize=size, squeeze=False, layout="constrained")
    map_name = "tab10" if len(comparison.methods) <= 10 else "turbo"
    colors = pyplot.get_cmap(map_name, max(len(comparison.methods), 10))
    handles: dict[str, Any] = {}
    for row, place in zip(axes, places, strict=True):
        for number, method in enumerate(comparison.methods):
            for run in comparison.runs:
                points = points_of(run) if (run.scene, run.model) == place and comparison.method(run) == method else ()
                for axis, position, unit in zip(row, (0, 1), (1, 60), strict=False):
                    if points:
                        x, y = [point[position] / unit for point in points], [point[2] for point in points]
                        style = {"marker": "o", "markersize": 3} if len(points) <= 30 else {"linewidth": 1}
                        (handles[method],) = axis.plot(x, y, color=colors(number), alpha=0.8, **style)
        row[0].set(xlabel="updates", ylabel=label, title=", ".join(place))
        if by_time:
            row[1].set(xlabel="minutes of training")
    names = [method for method in comparison.methods if method in handles]
    lines = [handles[method] for method in names]
    figure.legend(lines, names, loc="outside lower center", ncols=min(3, len(names)), fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, format="png")
    pyplot.close(figure)
    return buffer.getvalue()
