"""Figures of curves and of moments, of runs on scenes and of fits alike."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nerf_ssim.experiments.paper.finished import Finished, by_scene, moment_of, schedule_colors
from nerf_ssim.experiments.report.layout import count_along, load_pyplot, save_figure, table
from nerf_ssim.experiments.sweep.rows import mean_and_spread
from nerf_ssim.experiments.sweep.state import final_psnr

__all__ = ["draw_luminance", "draw_moments", "draw_psnr"]

TITLES = {"without": "w/o SSIM", "with": "w/ SSIM"}
OF_FITS = {"psnr": "psnr", "what": "PSNR (dB)", "x": "step", "score": "best PSNR (dB)"}
OF_RUNS = {"psnr": "psnr_test", "what": "test PSNR (dB)", "x": "updates", "score": "test PSNR at the end (dB)"}
LUMINANCE_SHOWN_UNTIL = 200


def draw_psnr(finished: Sequence[Finished], folder: Path, name: str) -> str:
    """PSNR by update under each schedule, a figure a scene: figures 1a (scenes), 1b and 2b (pictures)."""
    pyplot, words = load_pyplot(), words_of(finished)
    for scene, schedules in by_scene(finished).items():
        figure, axis = pyplot.subplots(figsize=(8, 4.5))
        colors = schedule_colors(list(schedules), pyplot)
        for schedule, color in colors.items():
            for number, one in enumerate(schedules[schedule]):
                label = title_of(schedule) if number == 0 else None
                marker = "o" if words is OF_RUNS else None
                axis.plot(*columns_of(one.curve(words["psnr"])), color=color, linewidth=1, marker=marker, label=label)
        axis.set(xlabel=words["x"], ylabel=words["what"], title=scene)
        count_along(axis)
        axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
        save_figure(figure, folder / f"{name}_{scene}.png")
    return score_table(finished)


def draw_moments(finished: Sequence[Finished], folder: Path, name: str) -> str:
    """PSNR by the moment at which SSIM is removed or added: figures 2a (a point's size is its step) and 2c.

    Points are means over the seeds, bars reach from the least to the greatest.
    """
    pyplot, words = load_pyplot(), words_of(finished)
    for scene, schedules in by_scene(finished).items():
        figure, axis = pyplot.subplots(figsize=(7, 4.5))
        for kind, color in (("remove", "tab:blue"), ("add", "tab:orange")):
            named = [
                (at, of_seeds) for word, of_seeds in schedules.items() if (at := moment_of(word, kind)) is not None
            ]
            points = [(at, scores) for at, of_seeds in sorted(named) if (scores := scores_of(of_seeds))]
            if not points:
                continue
            moments = [moment for moment, _ in points]
            means = [statistics.fmean(scores) for _, scores in points]
            spans = [(mean - min(scores), max(scores) - mean) for mean, (_, scores) in zip(means, points, strict=True)]
            sizes = [size_of(of_seeds) for _, of_seeds in sorted(named) if scores_of(of_seeds)]
            axis.errorbar(
                moments,
                means,
                list(zip(*spans, strict=True)),
                color=color,
                linewidth=0.8,
                capsize=2,
                label=f"{kind} at M",
            )
            axis.scatter(moments, means, s=sizes, color=color, alpha=0.6)
        for word, style in (("with", "--"), ("without", ":")):
            if scores := scores_of(schedules.get(word, [])):
                axis.axhline(statistics.fmean(scores), linestyle=style, color="grey", label=title_of(word))
        axis.set(xlabel="M", ylabel=words["score"], xscale="log", title=scene)
        axis.minorticks_off()
        ticks = sorted(
            {at for word in schedules for kind in ("remove", "add") if (at := moment_of(word, kind)) is not None}
        )
        axis.set_xticks(ticks, [str(at) for at in ticks])
        axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        save_figure(figure, folder / f"{name}_{scene}.png")
    return score_table(finished)


def draw_luminance(finished: Sequence[Finished], folder: Path, name: str) -> str:
    """Mean S1 and mean of mu_x - mu_y at the beginning, with and without SSIM: figure 3."""
    pyplot, words = load_pyplot(), words_of(finished)
    rows = []
    for scene, schedules in by_scene(finished).items():
        figure, axes = pyplot.subplots(1, 2, figsize=(11, 4))
        for schedule, color in schedule_colors(list(schedules), pyplot).items():
            one = schedules[schedule][0]
            for axis, column in zip(axes, ("luminance", "mean_difference"), strict=True):
                points = [point for point in one.curve(column) if point[0] <= LUMINANCE_SHOWN_UNTIL]
                axis.plot(*columns_of(points), color=color, label=title_of(schedule))
            nearest = nearest_values(one.curve("luminance"), (1, 10, 50, 100))
            rows.append([scene, title_of(schedule), *nearest])
        axes[0].set(xlabel=words["x"], ylabel="mean S1", title=scene)
        axes[1].set(xlabel=words["x"], ylabel="mean of mu_x - mu_y")
        for axis in axes:
            count_along(axis)
        axes[1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        save_figure(figure, folder / f"{name}_{scene}.png")
    return table(["scene", "SSIM", *(f"S1 at {update}" for update in (1, 10, 50, 100))], rows)


def score_table(finished: Sequence[Finished]) -> str:
    """The score of each schedule by scene, mean and spread over seeds, the best first."""
    rows = []
    for scene, schedules in by_scene(finished).items():
        scored = [(word, scores) for word, of_seeds in schedules.items() if (scores := scores_of(of_seeds))]
        for word, scores in sorted(scored, key=lambda item: -statistics.fmean(item[1])):
            rows.append([scene, title_of(word), len(scores), mean_and_spread(scores)])
    return table(["scene", "schedule", "seeds", words_of(finished)["score"]], rows)


def scores_of(of_seeds: Sequence[Finished]) -> list[float]:
    """The final or best PSNR of each seed that has one."""
    scores = (final_psnr(one.results) for one in of_seeds)
    return [score for score in scores if score is not None]


def size_of(of_seeds: Sequence[Finished]) -> float:
    """Of a point: the later the best step of a fit, the larger; the same for all runs on scenes."""
    steps = [one.results["step_best"] / one.results["iterations"] for one in of_seeds if one.results.get("step_best")]
    return 20 + 400 * statistics.fmean(steps) ** 2 if steps else 30


def nearest_values(curve: Sequence[tuple[float, float]], updates: Sequence[int]) -> list[float | None]:
    """The curve's value at each of the updates, or at the measurement nearest to it."""
    if not curve:
        return [None for _ in updates]
    return [min(curve, key=lambda point: abs(point[0] - update))[1] for update in updates]


def words_of(finished: Sequence[Finished]) -> Mapping[str, str]:
    """What columns and axes are called."""
    return OF_FITS if finished[0].run.command == "fit-image" else OF_RUNS


def title_of(schedule: str) -> str:
    """A schedule as the paper writes it."""
    return TITLES.get(schedule, schedule.replace("_", " at ") if moment_of_any(schedule) else schedule)


def moment_of_any(schedule: str) -> bool:
    """Whether it is `remove_M` or `add_M`."""
    return moment_of(schedule, "remove") is not None or moment_of(schedule, "add") is not None


def columns_of(points: Sequence[tuple[float, float]]) -> tuple[list[Any], list[Any]]:
    """Points as a list of x and a list of y."""
    return [point[0] for point in points], [point[1] for point in points]
