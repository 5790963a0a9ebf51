"""`python -m nerf_ssim.experiments.evidence collect SWEEP … | redraw`: what `make collect` and `make results` do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nerf_ssim.config.command_line import OneLineErrors, number_within
from nerf_ssim.errors import ConfigError, UserError
from nerf_ssim.experiments.evidence.collect import collect
from nerf_ssim.experiments.evidence.declared import read_declared, render
from nerf_ssim.experiments.evidence.figures import draw, read_figures
from nerf_ssim.experiments.evidence.pages import redrawn
from nerf_ssim.files import atomic_file, file_errors

DECLARED = "tables.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Carries out the command line; returns the exit code."""
    try:
        arguments = _parser().parse_args(argv)
        return collect_all(arguments) if arguments.command == "collect" else redraw_all(arguments)
    except UserError as error:
        print(f"nerf_ssim.experiments.evidence: {error}", file=sys.stderr)
        return 2
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0


def collect_all(arguments: argparse.Namespace) -> int:
    """Takes the sweeps' runs into the data folder."""
    for sweep in arguments.sweeps:
        found = collect(sweep, arguments.docs / "data", points=arguments.points)
        print(f"{found.name}: {found.runs} runs, {found.taken} of them new or further")
    return 0


def redraw_all(arguments: argparse.Namespace) -> int:
    """Writes every block and figure of the pages anew; with `--check`, says which differ and writes nothing.

    Returns:
        0, or 1 where `--check` found a difference.
    """
    docs, data = arguments.docs, arguments.docs / "data"
    tables, figures = read_declared(data / DECLARED), read_figures(data / DECLARED)
    drawn = {name: draw(figure, data) for name, figure in figures.items()}

    def table_of(name: str) -> str:
        if name not in tables:
            raise ConfigError(f"{data / DECLARED}: has no table {name!r}")
        return render(tables[name], data)

    def figure_of(name: str) -> str:
        if name not in figures:
            raise ConfigError(f"{data / DECLARED}: has no figure {name!r}")
        return f"![{figures[name].caption}](images/{name}.svg)" if drawn[name] else "*No run of this figure yet.*"

    makers = {"table": table_of, "figure": figure_of}
    files = {page: redrawn(page, makers) for page in sorted(docs.glob("*.md"))}
    files |= {docs / "images" / f"{name}.svg": text for name, text in drawn.items() if text is not None}
    differing = [path for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in differing:
        print(f"{'differs from its data' if arguments.check else 'drawn anew'}: {path}")
        if not arguments.check:
            with file_errors(path), atomic_file(path) as file:
                file.write(files[path].encode())
    return 1 if arguments.check and differing else 0


def _parser() -> OneLineErrors:
    parser = OneLineErrors(prog="python -m nerf_ssim.experiments.evidence", allow_abbrev=False, description=__doc__)
    parser.add_argument("--docs", type=Path, default=Path("docs"), metavar="DIR", help="the folder of pages (docs)")
    commands = parser.add_subparsers(dest="command", required=True)
    taking = commands.add_parser("collect", help="take the runs of sweeps into the data folder")
    taking.add_argument(
        "sweeps", type=Path, nargs="+", metavar="SWEEP", help="a sweep's folder, such as runs/which_part"
    )
    taking.add_argument(
        "--points", type=number_within(int, 0, 1000), default=40, metavar="N", help="of each curve; 0 for none (40)"
    )
    drawing = commands.add_parser("redraw", help="write every table and figure of the pages from the data folder")
    drawing.add_argument("--check", action="store_true", help="write nothing; exit 1 where something differs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
