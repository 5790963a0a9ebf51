"""A report on runs: its text for the terminal, and its files."""

from __future__ import annotations

from pathlib import Path

from nerf_ssim.errors import ConfigError
from nerf_ssim.experiments.report.curves import figures
from nerf_ssim.experiments.report.page import page
from nerf_ssim.experiments.report.provenance import provenance_table, warnings
from nerf_ssim.experiments.report.runs import Comparison
from nerf_ssim.experiments.report.tables import (
    Table,
    curve_table,
    difference_table,
    formats,
    run_table,
    settings_table,
    summary_table,
    under_way_table,
)
from nerf_ssim.experiments.report.views import view_sections
from nerf_ssim.files import atomic_file

__all__ = ["chosen_baseline", "report", "write_report"]


def report(comparison: Comparison, baseline: str | None = None) -> str:
    """Markdown: what must be known first, then every table that has a row."""
    notes = "".join(f"- {warning}\n" for warning in warnings(comparison))
    tables = [table.markdown() for table in report_tables(comparison, baseline).values() if table.rows]
    if not tables:
        tables = ["No test view was scored under way.\n"]
    return "\n".join([*([notes] if notes else []), *tables])


def report_tables(comparison: Comparison, baseline: str | None = None) -> dict[str, Table]:
    """The report's tables by the name of their files; the summary and differences only where some run is scored."""
    tables = {}
    if any(run.final for run in comparison.runs):
        tables["summary"] = summary_table(comparison)
        if len(comparison.methods) > 1:
            tables["differences"] = difference_table(comparison, chosen_baseline(comparison, baseline))
    tables["settings"] = settings_table(comparison)
    tables["under_way"] = under_way_table(comparison)
    tables["runs"] = run_table(comparison)
    tables["provenance"] = provenance_table(comparison)
    return tables


def chosen_baseline(comparison: Comparison, baseline: str | None) -> str:
    """The schedule that others are compared with: the one asked for, else SSIM throughout, else the first.

    Raises:
        ConfigError: no run has the schedule that was asked for.
    """
    methods = comparison.methods
    if baseline is None:
        return next((method for method in methods if method.startswith("with SSIM")), methods[0])
    if baseline not in methods:
        raise ConfigError(f"--baseline {baseline}: no run has it; there are {', '.join(map(repr, methods))}")
    return baseline


def write_report(comparison: Comparison, out: Path, *, baseline: str | None, n_views: int) -> list[Path]:
    """Write `report.html`, `report.md`, a CSV and a LaTeX file a table, and the figures; returns the paths.

    Raises:
        MissingDependency: matplotlib is not installed.
        OSError: `out` cannot be written.
    """
    tables = {name: table for name, table in report_tables(comparison, baseline).items() if table.rows}
    drawn = figures(comparison)
    names = list(dict.fromkeys(run.scene for run in comparison.runs))
    title = f"{len(comparison.runs)} runs on {', '.join(names[:6])}{' …' if len(names) > 6 else ''}"
    whole = page(title, tables, drawn, view_sections(comparison, n_views), warnings(comparison))
    files = {"report.html": whole.encode(), "report.md": report(comparison, baseline).encode()}
    for ending, write in formats().items():
        if ending != "md":
            files |= {f"{name}.{ending}": write(table).encode() for name, table in tables.items()}
    files["curves.csv"] = curve_table(comparison).csv().encode()
    files |= {f"{name}.png": data for name, data in drawn.items()}
    out.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        with atomic_file(out / name) as file:
            file.write(data)
    return [out / name for name in files]
