"""Figure 6, ours: the two parts of SSIM's gradient by iteration, beside the MSE's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nerf_ssim.errors import ConfigError
from nerf_ssim.experiments.paper.finished import Finished
from nerf_ssim.experiments.report.layout import load_pyplot, metrics_columns, save_figure, table

__all__ = ["draw_gradients", "draw_parts"]

SPACES = {"": "over parameters", "colour_": "over rendered colours"}
LINES = {"mse": ("MSE", "black"), "luminance": ("SSIM through S1", "C0"), "structure": ("SSIM through S2", "C1")}

TABLED = (0, 10, 50, 100, 200)
"""Iterations that the table shows, beside the last one."""

Columns = Mapping[str, Sequence[float | None]]


def draw_gradients(finished: Sequence[Finished], folder: Path, name: str) -> str:
    """Norms and cosines of the two parts, a figure a scene with a row a model, and a table of some iterations."""
    scenes: dict[str, dict[str, Finished]] = {}
    for one in finished:
        scenes.setdefault(one.scene, {}).setdefault(one.run.names["model"], one)  # the first seed
    rows = []
    for scene, models in scenes.items():
        draw_parts({f"{scene}, {model}": one.folder for model, one in models.items()}, folder / f"{name}_{scene}.png")
        for model, one in models.items():
            rows += [[scene, model, *row] for row in rows_of(_measured(one.folder))]
    header = ["scene", "model", "iteration", "norm through S1 / through S2", "cosine of S1's part", "of S2's part"]
    return table(header, rows)


def rows_of(columns: Columns) -> list[list[float | int | None]]:
    """What was measured nearest to each of some iterations, over the parameters: ratio of norms, and two cosines."""
    luminance, structure = (dict(_curve(columns, f"grad_{part}")) for part in ("luminance", "structure"))
    cosines = [dict(_curve(columns, f"cosine_{part}")) for part in ("luminance", "structure")]
    last = max(structure)
    nearest = {min(structure, key=lambda at: abs(at - wanted)) for wanted in (*(x for x in TABLED if x < last), last)}
    return [
        [int(at), luminance[at] / structure[at] if structure[at] else None, *(of_part.get(at) for of_part in cosines)]
        for at in sorted(nearest)
    ]


def draw_parts(runs: Mapping[str, Path], path: Path) -> None:
    """Draw norms and cosines of the gradients of MSE and of SSIM's two parts, a row of four plots a run.

    Args:
        runs: run or fit folders by title; each was made with `--grad_norm_every` above 0 and SSIM on for a while.
        path: the picture to write, its suffix says in which format.
    Raises:
        ConfigError: a folder without a log, or whose log holds none of these figures.
        MissingDependency: matplotlib is not installed.
    """
    columns = {title: _measured(folder) for title, folder in runs.items()}
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(len(columns), 4, figsize=(17, 3.4 * len(columns)), squeeze=False)
    for row, (title, values) in zip(axes, columns.items(), strict=True):
        for number, (prefix, space) in enumerate(SPACES.items()):
            _draw_norms(row[2 * number], values, prefix, f"norm {space}")
            _draw_cosines(row[2 * number + 1], values, prefix, f"cosine with MSE's {space}")
        row[0].set_ylabel(title)
    lines = axes[0][0].get_lines()
    axes[0][-1].legend(handles=lines, title="gradient of", loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    save_figure(figure, path)


def _measured(folder: Path) -> Columns:
    columns = metrics_columns(folder)
    if not any(value is not None for value in columns.get("grad_structure", ())):
        raise ConfigError(
            f"{folder}: its log has no gradients of SSIM's parts; train with --grad_norm_every above 0 while SSIM is on"
        )
    return columns


def _draw_norms(axis: Any, columns: Columns, prefix: str, title: str) -> None:
    for name, (label, colour) in LINES.items():
        points = [(at, value) for at, value in _curve(columns, f"{prefix}grad_{name}") if value > 0]
        axis.plot(*zip(*points, strict=True) if points else ([], []), color=colour, label=label, linewidth=1.2)
    axis.set(title=title, xlabel="iteration", yscale="log")
    axis.grid(alpha=0.3)


def _draw_cosines(axis: Any, columns: Columns, prefix: str, title: str) -> None:
    axis.axhline(0, color="black", linewidth=0.6)
    for name in ("luminance", "structure"):
        points = _curve(columns, f"{prefix}cosine_{name}")
        axis.plot(*zip(*points, strict=True) if points else ([], []), color=LINES[name][1], linewidth=1.2)
    axis.set(title=title, xlabel="iteration", ylim=(-1.05, 1.05))
    axis.grid(alpha=0.3)


def _curve(columns: Columns, name: str) -> list[tuple[float, float]]:
    """(iteration, value) wherever the column has a value."""
    pairs = zip(columns["iteration"], columns.get(name, ()), strict=False)
    return [(at, value) for at, value in pairs if at is not None and value is not None]
