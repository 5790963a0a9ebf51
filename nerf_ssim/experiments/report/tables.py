"""The report's tables, and each as Markdown, CSV, LaTeX and HTML."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from nerf_ssim.evaluation.scores import METRICS, score_cells, score_titles
from nerf_ssim.experiments.report import layout
from nerf_ssim.experiments.report.runs import Comparison, ReportedRun
from nerf_ssim.experiments.report.statistics import paired_difference, pairs_needed, summarise
from nerf_ssim.experiments.report.thinning import rows_to_keep

__all__ = [
    "Table",
    "curve_table",
    "difference_table",
    "run_table",
    "settings_table",
    "summary_table",
    "under_way_table",
]

POINTS_OF_CURVES = 200
CURVES = ("seconds", "psnr_train", "psnr_test", "ssim_weight", "luminance", "structure", "opacity")
"""The columns of `metrics.csv` that `curves.csv` has."""

LATEX_CHARACTERS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--",
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A title, a header, rows of cells (None where there is nothing), and what a reader must know to read them."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""

    def markdown(self) -> str:
        """A heading, the note, and a table."""
        note = f"{self.note}\n\n" if self.note else ""
        return f"# {self.title}\n\n{note}{layout.table(self.header, self.rows)}"

    def csv(self) -> str:
        """The header and the rows; an empty cell where there is nothing."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([self.header, *(["" if cell is None else cell for cell in row] for row in self.rows)])
        return text.getvalue()

    def latex(self) -> str:
        """A `tabular` with booktabs' rules, words to the left and figures to the right."""
        columns = zip(*self.rows, strict=True) if self.rows else ()
        kinds = "".join("r" if any(_is_figure(cell) for cell in column) else "l" for column in columns)
        lines = [" & ".join(map(_latex, row)) + r" \\" for row in (self.header, *self.rows)]
        kinds = kinds or "l" * len(self.header)
        body = [f"% {self.title}", rf"\begin{{tabular}}{{{kinds}}}", r"\toprule", lines[0], r"\midrule"]
        return "\n".join([*body, *lines[1:], r"\bottomrule", r"\end{tabular}", ""])

    def html(self) -> str:
        """A section with the table, which scrolls sideways by itself where the page is narrow.

        Columns without a value are left out, and named below the note.
        """
        filled = [any(row[place] is not None for row in self.rows) for place in range(len(self.header))]
        empty = [title for title, is_filled in zip(self.header, filled, strict=True) if not is_filled]
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in compress(self.header, filled))
        rows = "".join(
            "<tr>"
            + "".join(f"<td>{html.escape('–' if cell is None else _text(cell))}</td>" for cell in compress(row, filled))
            + "</tr>"
            for row in self.rows
        )
        notes = [self.note, f"Not measured: {', '.join(empty)}." if empty else ""]
        note = "".join(f"<p>{html.escape(text)}</p>" for text in notes if text)
        return (
            f"<section><h2>{html.escape(self.title)}</h2>{note}<div class='wide'><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{rows}</tbody></table></div></section>"
        )


def run_table(comparison: Comparison) -> Table:
    """One row a scored state: what it is, and every metric."""
    rows = []
    for run in comparison.runs:
        for results in run.results:
            seconds = results["seconds_train"]
            facts = [run.scene, run.model, comparison.method(run), run.seed, run.name, results["label"]]
            facts += [ssim_from_to(results["schedule"]), results["stopped_at"], run.views]
            cells = [None if cell == "-" else cell for cell in score_cells(results)]
            rows.append([*facts, None if seconds is None else f"{seconds:.0f}", *cells, results["ssim_variant"]])
    header = ["scene", "model", "schedule", "seed", "run", "label", "SSIM loss", "updates", "views", "seconds"]
    return Table("Scores of whole test splits", [*header, *score_titles(), "SSIM as"], rows)


def under_way_table(comparison: Comparison) -> Table:
    """PSNR of the views that were scored while training, by updates, with the seconds of training so far."""
    curves = [
        {updates: f"{psnr:.2f} ({seconds:,.0f} s)" for updates, seconds, psnr in run.curve("psnr_test")}
        for run in comparison.runs
    ]
    moments = sorted(set().union(*curves))
    facts = [(run.scene, run.model, comparison.method(run), run.seed) for run in comparison.runs]
    header, named = ["scene", "model", "schedule", "seed"], [list(of_run) for of_run in facts]
    if len(set(facts)) < len(facts):
        header, named = ["run"], [[run.name] for run in comparison.runs]
    rows = [[*names, *map(curve.get, moments)] for names, curve in zip(named, curves, strict=True) if curve]
    title = "PSNR (dB) of the test views scored under way, by updates; seconds of training"
    return Table(title, [*header, *map(str, moments)], rows)


def settings_table(comparison: Comparison) -> Table:
    """What the letters of schedules' names stand for: options in which runs of one scene and model differ."""
    rows = [[letter, text] for text, letter in comparison.letters.items()]
    return Table("Settings", ["settings", "options"], rows)


def summary_table(comparison: Comparison) -> Table:
    """By scene, model and schedule: each metric's mean over seeds, half of its 95% interval, and the count of seeds."""
    rows = []
    for scene, model, method, runs in _grouped(comparison):
        rows.append([scene, model, method, *(_summary(runs, metric) for metric in METRICS)])
    note = "Mean over seeds ± half of the 95% interval of the mean (Student's t), and how many seeds in brackets."
    return Table("By scene, model and schedule", ["scene", "model", "schedule", *score_titles()], rows, note)


def difference_table(comparison: Comparison, baseline: str) -> Table:
    """Each schedule minus the baseline, paired by scene and seed, with the sign-flip test's p-value.

    Args:
        baseline: one of `comparison.methods`.
    """
    rows = []
    for model in dict.fromkeys(run.model for run in comparison.runs):
        for method in comparison.methods:
            if method != baseline:
                row = [_difference(comparison, model, method, baseline, metric) for metric in METRICS]
                if any(cell is not None for cell in row):
                    rows.append([model, method, *row])
    note = (
        "Mean difference of runs of the same scene and seed ± half of its 95% interval, with the count of pairs, and "
        "the two-sided p-value of a sign-flip test. "
        f"That test needs {pairs_needed()} pairs to go below 0.05 whatever the differences are."
    )
    return Table(f"Difference from “{baseline}”", ["model", "schedule", *score_titles()], rows, note)


def curve_table(comparison: Comparison, most: int = POINTS_OF_CURVES) -> Table:
    """Each run's log, thinned: one row a moment, every score of test views among them."""
    rows = []
    logged = [name for name in CURVES if any(name in run.columns for run in comparison.runs)]
    for run in comparison.runs:
        iterations = run.columns["iteration"]
        scored = [run.columns[name] for name in run.columns if name.endswith("_test")]
        for place in rows_to_keep(scored, len(iterations), most):
            if (at := iterations[place]) is not None:
                names = [run.scene, run.model, comparison.method(run), run.seed, run.name, int(at) + 1]
                rows.append([*names, *(run.columns[name][place] if name in run.columns else None for name in logged)])
    return Table("Curves, thinned", ["scene", "model", "schedule", "seed", "run", "updates", *logged], rows)


def ssim_from_to(schedule: Mapping[str, Any]) -> str:
    """The updates with the SSIM term, as they turned out."""
    if not schedule["weight"]:
        return "never"
    end = schedule["remove_at"] if schedule["removed_at"] is None else schedule["removed_at"]
    return f"{schedule['add_at']} to {end}"


def _grouped(comparison: Comparison) -> list[tuple[str, str, str, list[ReportedRun]]]:
    """Runs by scene, model and method, in the order of the scenes and models given and of the methods."""
    groups: dict[tuple[str, str, str], list[ReportedRun]] = {}
    places = list(dict.fromkeys((run.scene, run.model) for run in comparison.runs))
    for scene, model in places:
        for method in comparison.methods:
            groups[scene, model, method] = []
    for run in comparison.runs:
        groups[run.scene, run.model, comparison.method(run)].append(run)
    return [(*key, runs) for key, runs in groups.items() if runs]


def _finals(runs: Sequence[ReportedRun], metric: str) -> list[tuple[tuple[str, int | None], float]]:
    """(scene and seed, final value) of the runs that have the metric."""
    return [
        ((run.scene, run.seed), run.final[metric])
        for run in runs
        if run.final is not None and run.final.get(metric) is not None
    ]


def _summary(runs: Sequence[ReportedRun], metric: str) -> str | None:
    values = [value for _, value in _finals(runs, metric)]
    return summarise(values).text(METRICS[metric].decimals) if values else None


def _difference(comparison: Comparison, model: str, method: str, baseline: str, metric: str) -> str | None:
    def finals(of: str) -> dict[tuple[str, int | None], float]:
        runs = [run for run in comparison.runs if run.model == model and comparison.method(run) == of]
        return dict(_finals(runs, metric))

    ours, theirs = finals(method), finals(baseline)
    differences = [value - theirs[pair] for pair, value in ours.items() if pair in theirs]
    if not differences:
        return None
    found = paired_difference(differences)
    sign = "+" if found.summary.mean > 0 else ""
    return f"{sign}{found.summary.text(METRICS[metric].decimals)}, p = {found.p_value:.2g}"


def _text(cell: Any) -> str:
    return f"{cell:.2f}" if isinstance(cell, float) else str(cell)


def _is_figure(cell: Any) -> bool:
    return isinstance(cell, (int, float)) or (isinstance(cell, str) and cell[:1].isdigit() and " to " not in cell)


def _latex(cell: Any) -> str:
    return "--" if cell is None else "".join(LATEX_CHARACTERS.get(letter, letter) for letter in _text(cell))


def formats() -> Mapping[str, Callable[[Table], str]]:
    """How a table is written, by the ending of the file's name."""
    return {"md": Table.markdown, "csv": Table.csv, "tex": Table.latex}
