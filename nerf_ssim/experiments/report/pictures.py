"""Tables and figures of the experiments on pictures, made of what their fits left in their folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nerf_ssim.errors import TrainingError
from nerf_ssim.experiments.report.layout import load_pyplot, mean, metrics_columns, save_figure, table

__all__ = ["best_table", "figure2", "figure3", "figure5", "table2", "table3"]

Fits = dict[str, dict[str, Any]]
METHODS = {"plain": "plain", "rpp": "RPP", "guided": "guided + RPP"}
COST_LEVELS = ("50", "55", "60")
VARIANCE_LEVELS = ("30", "40", "50", "60")


def load_fits(folder: Path) -> dict[str, Fits]:
    """By picture and by fit, the results that are there.

    Raises:
        TrainingError: none at all.
    """
    found: dict[str, Fits] = {}
    for path in sorted(folder.glob("*/*/results.json")):
        found.setdefault(path.parent.parent.name, {})[path.parent.name] = json.loads(path.read_text())
    if not found:
        raise TrainingError(f"{folder}: holds no finished fit; give the command without --report_only")
    return found


def table2(folder: Path) -> str:
    """Cost and acceleration: the first step at each level, by picture and method, and their means."""
    found = load_fits(folder)
    rows = []
    for picture, fits in found.items():
        for method, title in METHODS.items():
            if method in fits:
                fit = fits[method]
                costs = [fit["cost"][level] for level in COST_LEVELS]
                rows.append([picture, title, *costs, *acceleration(fits, method), fit["psnr_best"], fit["lr"]])
    for methods in _common_sets(found):
        complete = [fits for fits in found.values() if all(method in fits for method in methods)]
        for method in methods:
            costs = [mean(fits[method]["cost"][level] for fits in complete) for level in COST_LEVELS]
            gains = zip(*(acceleration(fits, method) for fits in complete), strict=True)
            best = mean(fits[method]["psnr_best"] for fits in complete)
            rows.append([f"mean of {len(complete)}", METHODS[method], *costs, *map(mean, gains), best, None])
    header = ["picture", "method", *(f"cost_{level}" for level in COST_LEVELS)]
    header += [*(f"acc_{level}" for level in COST_LEVELS), "best PSNR", "lr"]
    return "# Steps to a PSNR\n\n" + table(header, rows)


def _common_sets(found: dict[str, Fits]) -> list[list[str]]:
    """The sets of methods to average over the pictures that have them all: all three, and RPP with guided RPP where
    plain fits, which take longest, are there for some pictures only."""
    counts = {method: sum(method in fits for fits in found.values()) for method in METHODS}
    everything = [method for method in METHODS if counts[method]]
    permuted = [method for method in everything if method != "plain"]
    sets = [everything, permuted] if 0 < counts["plain"] < len(found) else [everything]
    return [methods for methods in sets if any(all(method in fits for method in methods) for fits in found.values())]


def acceleration(fits: Fits, method: str) -> list[float | None]:
    """acc_M at each level: the plain fit's cost over the method's; None where one of them never arrived."""
    ratios: list[float | None] = []
    for level in COST_LEVELS:
        plain, cost = fits.get("plain", {}).get("cost", {}).get(level), fits[method]["cost"][level]
        ratios.append(plain / cost if plain and cost else None)
    return ratios


def table3(folder: Path) -> str:
    """Variance of the squared errors when each level is first reached, by picture and method."""
    rows = [
        [picture, METHODS[method], *(fits[method]["variance"][level] for level in VARIANCE_LEVELS)]
        for picture, fits in load_fits(folder).items()
        for method in METHODS
        if method in fits
    ]
    header = ["picture", "method", *(f"{level} dB" for level in VARIANCE_LEVELS)]
    return "# Variance of the squared errors\n\n" + table(header, rows)


def best_table(folder: Path) -> str:
    """Best PSNR, its step, and costs of every fit of every picture, then the means over the pictures."""
    found = load_fits(folder)
    values = {
        picture: {
            name: [fit["psnr_best"], fit["step_best"], *(fit["cost"][level] for level in COST_LEVELS)]
            for name, fit in sorted(fits.items(), key=lambda item: -(item[1]["psnr_best"] or 0))
        }
        for picture, fits in found.items()
    }
    rows = [[picture, name, *row] for picture, fits in values.items() for name, row in fits.items()]
    shared = set.intersection(*(set(fits) for fits in values.values())) if len(values) > 1 else set()
    means = {
        name: [mean(column) for column in zip(*(fits[name] for fits in values.values()), strict=True)]
        for name in shared
    }
    order = sorted(means, key=lambda name: -(means[name][0] or 0))
    rows += [[f"mean of {len(values)}", name, *means[name]] for name in order]
    header = ["picture", "fit", "best PSNR", "at step", *(f"cost_{level}" for level in COST_LEVELS)]
    return "# Best PSNR\n\n" + table(header, rows)


def figure2(folder: Path) -> str:
    """Best PSNR by the moment at which SSIM leaves or enters (a point's radius is its step), and PSNR by step."""
    pyplot = load_pyplot()
    for picture, fits in load_fits(folder).items():
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.5))
        for kind in ("remove", "add"):
            points = sorted((int(name.split("_")[1]), fit) for name, fit in fits.items() if name.startswith(kind + "_"))
            steps = [fit["step_best"] / fit["iterations"] for _, fit in points]
            left.scatter(
                [moment for moment, _ in points], [fit["psnr_best"] for _, fit in points],
                s=[20 + 400 * step**2 for step in steps], alpha=0.6, label=f"{kind} at",
            )  # fmt: skip
        for name, style in (("with", "--"), ("without", ":")):
            if name in fits:
                left.axhline(fits[name]["psnr_best"], linestyle=style, color="grey", label=f"{name} SSIM")
        left.set(xlabel="step M", ylabel="best PSNR (dB)", xscale="log")
        for name, color in _schedule_colors(fits, pyplot).items():
            columns = metrics_columns(folder / picture / name)
            label = name.replace("_", " at ")
            right.plot(columns["iteration"], columns["psnr"], linewidth=0.8, color=color, label=label)
        right.set(xlabel="step", ylabel="PSNR (dB)")
        left.legend(fontsize=8)
        right.legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))
        save_figure(figure, folder / f"figure2_{picture}.png")
    return best_table(folder)


def _schedule_colors(fits: Fits, pyplot: Any) -> dict[str, Any]:
    """The fits in order, removals blue and additions orange, the later the darker."""
    colors = {name: color for name, color in (("without", "black"), ("with", "grey")) if name in fits}
    for kind, scale in (("remove", pyplot.cm.Blues), ("add", pyplot.cm.Oranges)):
        names = sorted((name for name in fits if name.startswith(kind + "_")), key=lambda name: int(name.split("_")[1]))
        colors |= {name: scale(0.35 + 0.65 * (number + 1) / len(names)) for number, name in enumerate(names)}
    return colors


def figure3(folder: Path) -> str:
    """Luminance S1 and mu_x - mu_y by step, with and without SSIM."""
    pyplot = load_pyplot()
    rows = []
    for picture, fits in load_fits(folder).items():
        figure, axes = pyplot.subplots(1, 2, figsize=(11, 4))
        for name in [name for name in ("with", "without") if name in fits]:
            columns = metrics_columns(folder / picture / name)
            for axis, column in zip(axes, ("luminance", "mean_difference"), strict=True):
                points = [
                    (step, value)
                    for step, value in zip(columns["iteration"], columns[column], strict=True)
                    if value is not None
                ]
                axis.plot(*zip(*points, strict=True), label=f"{name} SSIM")
                if column == "luminance":
                    rows.append([picture, name, *(dict(points).get(step) for step in (0, 10, 50, 100))])
        axes[0].set(xlabel="step", ylabel="mean S1", xlim=(0, 200))
        axes[1].set(xlabel="step", ylabel="mean of mu_x - mu_y", xlim=(0, 200))
        axes[0].legend()
        save_figure(figure, folder / f"figure3_{picture}.png")
    return "# Mean S1\n\n" + table(["picture", "SSIM", "step 0", "step 10", "step 50", "step 100"], rows)


def figure5(folder: Path) -> str:
    """Error maps of the three methods where each fit stopped, on one scale a picture."""
    from nerf_ssim.evaluation import pictures
    from nerf_ssim.images.fits import load_values

    rows = []
    for picture, fits in load_fits(folder).items():
        present = [method for method in METHODS if method in fits]
        values = {method: load_values(folder / picture / method) for method in present}
        largest = max((fitted.double() - truth).square().mean().sqrt().item() for fitted, truth in values.values())
        for method, (fitted, truth) in values.items():
            path = folder / f"figure5_{picture}_{method}.png"
            pictures.save_png(path, pictures.error_map(fitted.double(), truth, 2 * largest))
            rows.append([picture, METHODS[method], fits[method]["stopped_at"], 2 * largest, path.name])
    return "# Error maps\n\n" + table(["picture", "method", "step", "full scale", "file"], rows)
