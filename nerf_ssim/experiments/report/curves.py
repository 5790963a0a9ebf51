"""The report's figures: metrics by updates and by time, and luminance by updates, grouped by schedule."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

from nerf_ssim.evaluation.scores import METRICS
from nerf_ssim.experiments.report.layout import count_along, load_pyplot
from nerf_ssim.experiments.report.runs import Comparison, ReportedRun

__all__ = ["figures", "smoothed"]

Point = tuple[int, float, float]


def figures(comparison: Comparison) -> dict[str, bytes]:
    """By file name without ending, each figure as a PNG: luminance, and each metric that changes along some run.

    A metric that runs have at one moment alone makes no curve; the tables have it. A figure is one column wide, by
    updates or by time, so that it is legible on a narrow page too.

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    drawn = {}
    for name, metric in METRICS.items():
        column = f"{name}_test"
        points_of, label = _test_curve(name, column), f"{metric.title} {metric.unit}".rstrip()
        if any(len(points_of(run)) > 1 for run in comparison.runs):
            drawn[name] = _draw(comparison, label, points_of)
            drawn[f"{name}_by_time"] = _draw(comparison, label, points_of, by_time=True)
    if any(run.curve("luminance") for run in comparison.runs):
        drawn["luminance"] = _draw(comparison, "mean S1 (luminance), smoothed", _monitor)
    return drawn


def smoothed(points: Sequence[Point], share: float = 0.02) -> list[Point]:
    """The running mean of values over a window of `share` of the points (at least one), each at its window's middle."""
    half = int(len(points) * share / 2)
    windows = (points[max(0, place - half) : place + half + 1] for place in range(len(points)))
    return [
        (updates, seconds, sum(value for _, _, value in window) / len(window))
        for (updates, seconds, _), window in zip(points, windows, strict=True)
    ]


def time_unit(longest: float) -> tuple[str, int]:
    """What an axis that goes to `longest` seconds is labelled with, and the seconds of its unit."""
    for name, seconds in (("hours", 3600), ("minutes", 60)):
        if longest >= 5 * seconds:
            return f"{name} of training", seconds
    return "seconds of training", 1


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
    comparison: Comparison, label: str, points_of: Callable[[ReportedRun], Sequence[Point]], *, by_time: bool = False
) -> bytes:
    """A row a scene and model, by updates or by training time, a colour a schedule; one legend outside the axes."""
    pyplot = load_pyplot()
    places = list(dict.fromkeys((run.scene, run.model) for run in comparison.runs if points_of(run)))
    size = (5.6, 3.0 * len(places) + 0.6)
    figure, axes = pyplot.subplots(len(places), figsize=size, squeeze=False, layout="constrained")
    longest = max(point[1] for run in comparison.runs for point in points_of(run))
    title, unit = time_unit(longest) if by_time else ("updates", 1)
    map_name = "tab10" if len(comparison.methods) <= 10 else "turbo"
    colors = pyplot.get_cmap(map_name, max(len(comparison.methods), 10))
    handles: dict[str, Any] = {}
    for axis, place in zip(axes[:, 0], places, strict=True):
        for number, method in enumerate(comparison.methods):
            for run in comparison.runs:
                points = points_of(run) if (run.scene, run.model) == place and comparison.method(run) == method else ()
                if points:
                    x, y = [point[by_time] / unit for point in points], [point[2] for point in points]
                    style = {"marker": "o", "markersize": 3} if len(points) <= 30 else {"linewidth": 1}
                    (handles[method],) = axis.plot(x, y, color=colors(number), alpha=0.8, **style)
        axis.set(xlabel=title, ylabel=label, title=", ".join(place))
        if not by_time:
            count_along(axis)
    names = [method for method in comparison.methods if method in handles]
    lines = [handles[method] for method in names]
    figure.legend(lines, names, loc="outside lower center", ncols=min(3, len(names)), fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, format="png")
    pyplot.close(figure)
    return buffer.getvalue()
