"""The tables and figures of the pages, as `docs/data/tables.yaml` declares them, from CSV files to Markdown."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from nerf_ssim.errors import ConfigError, MissingDependency
from nerf_ssim.experiments.evidence.collect import Row, read_table
from nerf_ssim.experiments.report.layout import table
from nerf_ssim.experiments.report.statistics import summarise
from nerf_ssim.experiments.sweep.rows import reduce_best

__all__ = ["TableOf", "read_declared", "read_yaml", "render"]

G = TypeVar("G")
KINDS = ("as_it_is", "final", "under_way")


@dataclass(frozen=True)
class TableOf:
    """One table.

    Attributes:
        file: the CSV file in the data folder: of a sweep, its name alone.
        beside: `final`: files of other sweeps whose runs stand in the same table, where they are there.
        kind: `as_it_is` shows the file; `final` has scores of finished runs; `under_way` a logged score by updates.
        rows: the columns of the file that name a row.
        columns: `final`: the column whose values are columns of the table, or None; `under_way`: updates.
        titles: of values, and of columns, by value; those of `columns` also say their order.
        cells: the scores that are shown, and the title of each.
        spread: `interval` (mean ± half of the 95% interval), `range` (mean and least to greatest) or `median`.
        decimals: of a cell.
        best: axes that are reduced to their best value, each with the score that decides.
        where: values that a row of the file must have, by column.
        origin: where the figures come from, of a file that no command here can make again.
        ask: the command that makes the file, for a table without one.
    """

    file: str
    beside: Sequence[str] = ()
    kind: str = "final"
    rows: Sequence[str] = ("scene", "model", "schedule")
    columns: Any = None
    titles: Mapping[str, str] = field(default_factory=dict)
    cells: Mapping[str, str] = field(default_factory=lambda: {"psnr": "PSNR dB"})
    spread: str = "interval"
    decimals: int = 2
    best: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ""
    ask: str = ""


def read_yaml(path: Path) -> Mapping[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: a file that cannot be read or holds something else.
        MissingDependency: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingDependency("tables are declared in YAML: pip install 'nerf_ssim[sweep]'") from error
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must be a mapping of names")
    return content


def read_declared(path: Path) -> dict[str, TableOf]:
    """The tables of `tables.yaml`, by name.

    Raises:
        ConfigError: an unknown key or kind, with the table's name.
    """
    found = {}
    for name, values in read_yaml(path).get("tables", {}).items():
        try:
            found[name] = TableOf(**values)
        except TypeError as error:
            raise ConfigError(f"{path}: {name}: {error}") from error
        if found[name].kind not in KINDS or found[name].spread not in SPREADS:
            raise ConfigError(f"{path}: {name}: kind is one of {', '.join(KINDS)}, spread of {', '.join(SPREADS)}")
    return found


def render(declared: TableOf, data: Path) -> str:
    """The table as Markdown, with a line below it that says which runs it is made of."""
    path = data / f"{declared.file}.csv"
    if not path.is_file():
        return f"*Not run yet*: `{declared.ask}`.\n"
    if declared.kind == "as_it_is":
        with open(path, encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        return f"{table(header, rows)}\n*{declared.origin}*\n"
    others = [other for name in declared.beside if (other := data / f"{name}.csv").is_file()]
    runs = [row for each in (*others, path) for row in read_table(each) if is_wanted(row, declared.where)]
    drawn = final_table(declared, runs) if declared.kind == "final" else under_way_table(declared, runs, data)
    return f"{drawn}\n{provenance(runs)}"


def final_table(declared: TableOf, runs: Sequence[Row]) -> str:
    """Scores of the finished runs: a row a combination of `rows`, a cell over its seeds."""
    done = numbered([row for row in runs if row["state"] == "done"], [*declared.cells, *declared.best.values()])
    for axis, score in declared.best.items():
        done = reduce_best(done, axis, score)
    wanted = value_order(declared.columns, declared.titles, done) if declared.columns else [None]
    groups: dict[tuple[str, ...], dict[str | None, list[Row]]] = {}
    for row in done:
        of_row = groups.setdefault(tuple(row[name] for name in declared.rows), {})
        of_row.setdefault(row[declared.columns] if declared.columns else None, []).append(row)
    header = [declared.titles.get(name, name) for name in declared.rows]
    header += [
        " ".join(part for part in (value and declared.titles.get(value, value), title) if part)
        for value in wanted
        for title in (declared.cells.values() if len(declared.cells) > 1 or value is None else [""])
    ]
    lines = [
        [
            *(declared.titles.get(value, value) for value in names),
            *(
                cell(declared, [row[score] for row in of_row.get(value, [])])
                for value in wanted
                for score in declared.cells
            ),
        ]
        for names, of_row in in_order(groups, declared, done)
    ]
    return table(header, lines) if lines else "*No run of it is finished yet.*\n"


def under_way_table(declared: TableOf, runs: Sequence[Row], data: Path) -> str:
    """A logged score by updates, over the seeds of the runs that came so far; without columns that none has reached."""
    ((score, _),) = declared.cells.items()
    wanted = {(tuple(row[name] for name in declared.rows), row["seed"]) for row in runs}
    groups: dict[tuple[str, ...], dict[int, list[float]]] = {names: {} for names, _ in wanted}
    for row in read_table(data / f"{declared.file}_curves.csv"):
        names, at = tuple(row[name] for name in declared.rows), int(row["updates"])
        if (names, row["seed"]) in wanted and at in declared.columns and row.get(score):
            groups[names].setdefault(at, []).append(float(row[score]))
    columns = [at for at in declared.columns if any(at in values for values in groups.values())]
    header = [*(declared.titles.get(name, name) for name in declared.rows), *map(str, columns)]
    lines = [
        [
            *(declared.titles.get(value, value) for value in names),
            *(cell(declared, of_row.get(at, [])) for at in columns),
        ]
        for names, of_row in in_order(groups, declared, runs)
        if of_row
    ]
    return table(header, lines) if lines else "*No test view of it has been scored yet.*\n"


def is_wanted(row: Row, where: Mapping[str, Any]) -> bool:
    """Whether a row has the values that a table asks for."""
    return all(
        row[name] in (list(map(str, value)) if isinstance(value, list) else [str(value)])
        for name, value in where.items()
    )


def numbered(rows: Sequence[Row], scores: Sequence[str]) -> list[Row]:
    """The rows with their scores as numbers; None where there is none."""
    return [row | {score: float(row[score]) if row.get(score) else None for score in scores} for row in rows]


def in_order(
    groups: Mapping[tuple[str, ...], G], declared: TableOf, rows: Sequence[Row]
) -> list[tuple[tuple[str, ...], G]]:
    """What belongs to each row of a table, in the order of the values that name the row."""
    orders = [value_order(name, declared.titles, rows) for name in declared.rows]

    def places(group: tuple[tuple[str, ...], G]) -> list[int]:
        return [order.index(value) for order, value in zip(orders, group[0], strict=True)]

    return sorted(groups.items(), key=places)


def value_order(column: str, titles: Mapping[str, str], rows: Sequence[Row]) -> list[str]:
    """The values of a column: those with a title in the order of the titles, then the others as they come."""
    there = list(dict.fromkeys(row[column] for row in rows))
    return sorted(there, key=lambda value: place(titles, value))


def place(titles: Mapping[str, str], value: str) -> int:
    """Of a value among the titles; behind them all where it has none."""
    return list(titles).index(value) if value in titles else len(titles)


def cell(declared: TableOf, values: Sequence[float | None]) -> str | None:
    """Values over seeds as one cell, their count in brackets; None where there are none."""
    there = [value for value in values if value is not None]
    if not there:
        return f"never ({len(values)})" if values else None
    text = SPREADS[declared.spread](there, declared.decimals)
    return text if len(there) == len(values) else f"{text[:-1]} of {len(values)})"


def as_interval(values: Sequence[float], decimals: int) -> str:
    """Mean ± half of its 95% interval (count)."""
    return summarise(values).text(decimals)


def as_range(values: Sequence[float], decimals: int) -> str:
    """Mean, least to greatest (count)."""
    return spanned(statistics.fmean(values), values, decimals)


def as_median(values: Sequence[float], decimals: int) -> str:
    """Median, least to greatest (count)."""
    return spanned(statistics.median(values), values, decimals)


def spanned(middle: float, values: Sequence[float], decimals: int) -> str:
    """A middle value with the least and the greatest beside it."""
    span = f", {min(values):.{decimals}f}–{max(values):.{decimals}f}" if len(values) > 1 else ""
    return f"{middle:.{decimals}f}{span} ({len(values)})"


SPREADS: Mapping[str, Callable[[Sequence[float], int], str]] = {
    "interval": as_interval,
    "range": as_range,
    "median": as_median,
}


def provenance(runs: Sequence[Row]) -> str:
    """How many runs, of which commits, processors and backends; those that are not finished yet are counted."""
    under_way = [row for row in runs if row["state"] != "done"]
    finished = len(runs) - len(under_way)
    parts = [f"{finished} run{'' if finished == 1 else 's'} finished"]
    if under_way:
        furthest = max(int(row["updates"]) for row in under_way)
        parts.append(f"{len(under_way)} under way (the furthest after {furthest} updates)")
    for column, title in (("commit", "commit"), ("processor", "processor"), ("backend", "backend"), ("label", "label")):
        found = sorted({row[column] for row in runs if row.get(column)})
        if found:
            parts.append(f"{title} {', '.join(found)}")
    mixed = any(row.get("processors_before") for row in runs)
    return f"*{'; '.join(parts)}{'; some went on on another processor' if mixed else ''}.*\n"
