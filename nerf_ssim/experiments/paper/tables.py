"""Tables I, II and III, and the plain table of fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nerf_ssim.experiments.paper.curves import scores_of, title_of
from nerf_ssim.experiments.paper.finished import Finished, by_scene, moment_of
from nerf_ssim.experiments.report.layout import mean, table
from nerf_ssim.experiments.sweep.rows import mean_and_spread

__all__ = ["best_table", "table1", "table2", "table3"]

METHODS = {"plain": "plain", "rpp": "RPP", "guided": "guided + RPP"}
COST_LEVELS = ("50", "55", "60")
VARIANCE_LEVELS = ("30", "40", "50", "60")
COLUMNS_OF_TABLE1 = ("w/o", "w/", "remove at M", "add at M")


def table1(finished: Sequence[Finished], folder: Path, name: str) -> str:
    """Test PSNR of each model on each scene without SSIM, with it, and removed and added at M: mean ± sd over seeds."""
    cells: dict[tuple[str, str], dict[str, list[Finished]]] = {}
    for one in finished:
        place = cells.setdefault((one.run.names["model"], one.scene), {})
        place.setdefault(column_of(one.schedule), []).append(one)
    rows = []
    for (model, scene), columns in cells.items():
        scores = [mean_and_spread(scores_of(columns.get(column, []))) for column in COLUMNS_OF_TABLE1]
        rows.append([model, scene, moment_in(columns), *scores])
    for model in {model: None for model, _ in cells}:
        of_model = [columns for (other, _), columns in cells.items() if other == model]
        means: list[Any] = [
            mean_over_scenes(columns.get(column, []) for columns in of_model) for column in COLUMNS_OF_TABLE1
        ]
        rows.append([model, f"mean of {len(of_model)}", moment_in(of_model[0]), *means])
    return table(["model", "scene", "M", *COLUMNS_OF_TABLE1], rows)


def column_of(schedule: str) -> str:
    """The column of Table I that a schedule stands in."""
    words = {"without": "w/o", "with": "w/"}
    return words.get(schedule, "remove at M" if moment_of(schedule, "remove") is not None else "add at M")


def moment_in(columns: Mapping[str, Sequence[Finished]]) -> int | None:
    """The M of a row of Table I."""
    return next((moment_of(one.schedule, "remove") for one in columns.get("remove at M", ())), None)


def mean_over_scenes(of_scenes: Iterable[Sequence[Finished]]) -> float | None:
    """The mean over scenes of the means over seeds; None where a scene has none."""
    return mean([mean(scores_of(of_scene)) for of_scene in of_scenes])


def table2(finished: Sequence[Finished], folder: Path, name: str) -> str:
    """Cost and acceleration: the first step at each level, by picture and method, and their means."""
    found = first_seeds(finished)
    rows = []
    for picture, fits in found.items():
        for method, fit in fits.items():
            costs = [fit["cost"][level] for level in COST_LEVELS]
            rows.append([picture, METHODS[method], *costs, *acceleration(fits, method), fit["psnr_best"], fit["lr"]])
    for methods in sets_to_average(found):
        complete = [fits for fits in found.values() if all(method in fits for method in methods)]
        for method in methods:
            costs = [mean(fits[method]["cost"][level] for fits in complete) for level in COST_LEVELS]
            gains = zip(*(acceleration(fits, method) for fits in complete), strict=True)
            best = mean(fits[method]["psnr_best"] for fits in complete)
            rows.append([f"mean of {len(complete)}", METHODS[method], *costs, *map(mean, gains), best, None])
    header = ["picture", "method", *(f"cost_{level}" for level in COST_LEVELS)]
    return table([*header, *(f"acc_{level}" for level in COST_LEVELS), "best PSNR", "lr"], rows)


def table3(finished: Sequence[Finished], folder: Path, name: str) -> str:
    """Variance of the squared errors when each level is first reached, by picture and method."""
    rows = [
        [picture, METHODS[method], *(fit["variance"][level] for level in VARIANCE_LEVELS)]
        for picture, fits in first_seeds(finished).items()
        for method, fit in fits.items()
    ]
    return table(["picture", "method", *(f"{level} dB" for level in VARIANCE_LEVELS)], rows)


def best_table(finished: Sequence[Finished], folder: Path, name: str) -> str:
    """Best PSNR, its step, and costs of every fit of every picture, the best first, then the means over pictures."""
    found = first_seeds(finished)
    values = {picture: {fit: best_values(results) for fit, results in fits.items()} for picture, fits in found.items()}
    rows = [[picture, title_of(fit), *row] for picture, fits in values.items() for fit, row in best_first(fits).items()]
    shared = set.intersection(*(set(fits) for fits in values.values())) if len(values) > 1 else set()
    means = {
        fit: [mean(column) for column in zip(*(fits[fit] for fits in values.values()), strict=True)] for fit in shared
    }
    rows += [[f"mean of {len(values)}", title_of(fit), *row] for fit, row in best_first(means).items()]
    header = ["picture", "fit", "best PSNR", "at step", *(f"cost_{level}" for level in COST_LEVELS)]
    return table(header, rows)


def best_values(results: Mapping[str, Any]) -> list[Any]:
    """A row of `best_table`."""
    return [results["psnr_best"], results["step_best"], *(results["cost"][level] for level in COST_LEVELS)]


def best_first(fits: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Rows by name, the highest PSNR first."""
    return dict(sorted(fits.items(), key=lambda item: -(item[1][0] or 0)))


def first_seeds(finished: Sequence[Finished]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """By picture and method, the results of the first seed; the paper's three methods in its order."""
    found = {
        picture: {method: of_seeds[0].results for method, of_seeds in fits.items()}
        for picture, fits in by_scene(finished).items()
    }
    order = [*METHODS, *(method for fits in found.values() for method in fits if method not in METHODS)]
    return {
        picture: {method: fits[method] for method in dict.fromkeys(order) if method in fits}
        for picture, fits in found.items()
    }


def sets_to_average(found: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """The sets of methods to average over the pictures that have them all: all three, and RPP with guided RPP where
    plain fits, which take longest, are there for some pictures only."""
    counts = {method: sum(method in fits for fits in found.values()) for method in METHODS}
    everything = [method for method in METHODS if counts[method]]
    permuted = [method for method in everything if method != "plain"]
    sets = [everything, permuted] if 0 < counts["plain"] < len(found) else [everything]
    return [methods for methods in sets if any(all(method in fits for method in methods) for fits in found.values())]


def acceleration(fits: Mapping[str, Mapping[str, Any]], method: str) -> list[float | None]:
    """acc_M at each level: the plain fit's cost over the method's; None where one of them never arrived."""
    ratios: list[float | None] = []
    for level in COST_LEVELS:
        plain, cost = fits.get("plain", {}).get("cost", {}).get(level), fits[method]["cost"][level]
        ratios.append(plain / cost if plain and cost else None)
    return ratios
