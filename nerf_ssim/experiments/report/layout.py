"""What every report is made with: a run's logged columns, Markdown tables, figures."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nerf_ssim.errors import ConfigError, MissingDependency
from nerf_ssim.files import read_text

__all__ = ["count_along", "load_pyplot", "mean", "metrics_columns", "save_figure", "table"]


def metrics_columns(folder: Path) -> dict[str, list[float | None]]:
    """The columns of a run's `metrics.csv`; None where a cell is empty. A last line cut short by a kill is left out.

    Raises:
        ConfigError: a file that cannot be read, or a cell that is no number.
    """
    path = folder / "metrics.csv"
    try:
        text = read_text(path)
        rows = list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))
        return {name: [float(row[name]) if row[name] else None for row in rows] for name in rows[0]} if rows else {}
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from error


def table(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A Markdown table; numbers with sensible digits, None as a dash."""

    def cell(value: Any) -> str:
        if value is None:
            return "–"
        return f"{value:.2f}" if isinstance(value, float) and abs(value) >= 0.01 else f"{value:.3g}" if isinstance(
            value, float
        ) else str(value).replace("|", "\\|")  # fmt: skip

    header = list(header)
    lines = [header, ["---"] * len(header), *([cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of what is there; None where something is missing."""
    values = list(values)
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def load_pyplot() -> Any:
    """`matplotlib.pyplot`, drawing into files only.

    Raises:
        MissingDependency: matplotlib, an extra, is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise MissingDependency("figures need matplotlib: pip install 'nerf_ssim[report]'") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as pyplot

    return pyplot


def count_along(axis: Any) -> None:
    """Puts the ticks along a plot's horizontal axis at whole numbers: of updates there are no halves."""
    axis.xaxis.get_major_locator().set_params(integer=True)


def save_figure(figure: Any, path: Path) -> None:
    """Lay a figure out, write it to `path` and forget it."""
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    load_pyplot().close(figure)
