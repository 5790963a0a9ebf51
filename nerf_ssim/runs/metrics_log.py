"""What a run measures, one row an interval: metrics.csv, and copies of it for other programs."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from nerf_ssim.errors import TrainingError, explain_os_error
from nerf_ssim.files import atomic_file, csv_cells, read_bytes
from nerf_ssim.runs.writers import Writer

NAME = "metrics.csv"


class MetricsLog:
    """Appends rows to `metrics.csv` in the run's folder, and gives the same values to other programs.

    Each row is written to the file as one line as soon as it is complete, so a kill loses at most the last line.
    A fresh log replaces an existing one. A resumed log first drops, by an atomic rewrite, the rows at or past the
    iteration that the run continues from (they will be measured again) and a last line that was cut short. Columns that
    were not measured yet when the file was begun are empty in its earlier rows.

    Args:
        folder: the run's folder.
        columns: the header, in order; "iteration" is put first if it isn't among them.
        resume_iteration: updates done at the checkpoint that the run continues from; None for a fresh run.
        copies: takes the values of each row too, and is closed with the log; None for nothing.
        warn: takes one line when a damaged row is dropped from the middle of the file; stderr by default.
    Raises:
        ValueError: a column that comes twice.
        TrainingError: the file can't be read or written, or it has columns that a resumed run does not write.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        columns: Sequence[str],
        resume_iteration: int | None = None,
        *,
        copies: Writer | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self.path = Path(folder) / NAME
        self.columns = ("iteration", *(column for column in columns if column != "iteration"))
        if len(set(columns)) != len(columns):
            raise ValueError(f"columns must be distinct, got {tuple(columns)}")
        self._warn, self._copies = warn or warn_on_stderr, copies
        try:
            kept = self._rows_before(resume_iteration) if resume_iteration is not None else []
            with atomic_file(self.path) as file:
                file.write((_line(self.columns) + "".join(kept)).encode())
            self._file = open(self.path, "a", encoding="utf-8", newline="", buffering=1)  # noqa: SIM115 (close())
        except OSError as error:
            raise TrainingError(explain_os_error(error, path=self.path, doing="opened")) from error

    def write(self, iteration: int, values: Mapping[str, float | None]) -> None:
        """Add one row.

        Args:
            iteration: the row's iteration.
            values: by column; a missing or None value is left empty.
        Raises:
            ValueError: a value without a column.
            TrainingError: the disk is full.
        """
        if unknown := [name for name in values if name not in self.columns or name == "iteration"]:
            raise ValueError(f"{self.path.name} has no column {', '.join(unknown)}; it has {', '.join(self.columns)}")
        cells = [_cell(values.get(column)) for column in self.columns[1:]]
        try:
            self._file.write(_line([str(int(iteration)), *cells]))
        except OSError as error:
            raise TrainingError(explain_os_error(error, path=self.path, doing="given a row")) from error
        if self._copies is not None:
            self._copies.write({name: float(value) for name, value in values.items() if value is not None}, iteration)

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        try:
            self._file.close()
        except OSError as error:
            raise TrainingError(explain_os_error(error, path=self.path, doing="given its last row")) from error
        if self._copies is not None:
            self._copies.close()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _rows_before(self, resume_iteration: int) -> list[str]:
        """The lines to keep of an existing file, as they are."""
        if not self.path.exists():
            return []
        text = read_bytes(self.path).decode("utf-8", errors="replace")
        lines = text.splitlines(keepends=True)
        if lines and not lines[-1].endswith("\n"):
            lines.pop()  # cut short by a kill; even if it parses, its last number may lack digits
        if not lines:
            return []
        header = tuple(csv_cells(lines[0]))
        if header != tuple(column for column in self.columns if column in header):
            changed = sorted(set(header) ^ set(self.columns)) or ["their order"]
            raise TrainingError(
                f"{self.path}: its columns aren't those of this run (differing: {', '.join(changed)}); "
                "resume with the options it was started with, or start another --expname"
            )
        kept, damaged = [], 0
        for line in lines[1:]:
            cells = csv_cells(line)
            if len(cells) != len(header) or not cells[0].isdecimal():
                damaged += 1
            elif int(cells[0]) < resume_iteration:
                row = dict(zip(header, cells, strict=True))
                kept.append(line if header == self.columns else _line([row.get(name, "") for name in self.columns]))
        if damaged:
            self._warn(f"{self.path}: {damaged} damaged row(s) dropped")
        return kept


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, (bool, int)):
        return str(int(value))
    return f"{float(value):.9g}"  # nine digits tell every float32 from its neighbours


def _line(cells: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def warn_on_stderr(line: str) -> None:
    """Prints a line of warning."""
    print(f"warning: {line}", file=sys.stderr)
