"""`nerf-ssim report DIR [DIR ...]`: runs side by side, as tables, curves and a page."""

from __future__ import annotations

from collections.abc import Sequence

from nerf_ssim.config.command_line import OneLineErrors, number_within
from nerf_ssim.files import file_errors, user_path

MOST_VIEWS = 100


def run(argv: Sequence[str]) -> int:
    """Print the tables of the runs; with `--out`, keep them there as a page, CSV, Markdown, LaTeX and figures.

    Returns:
        0.
    Raises:
        UserError: no run that can be read, matplotlib missing for the figures, or `--out` that cannot be written.
    """
    options = _parser().parse_args(argv)

    from nerf_ssim.experiments.report.comparison import report, write_report
    from nerf_ssim.experiments.report.runs import load_comparison

    comparison = load_comparison(options.runs)
    print(report(comparison, options.baseline), end="")
    if options.out is not None:
        with file_errors(options.out):
            paths = write_report(comparison, options.out, baseline=options.baseline, n_views=options.views)
        print(f"\npage: {paths[0]}  beside it: {', '.join(path.name for path in paths[1:])}")
    return 0


def _parser() -> OneLineErrors:
    parser = OneLineErrors(
        prog="nerf-ssim report",
        allow_abbrev=False,
        description="Compare runs on scenes: every metric by scene, model, schedule and seed, with intervals.",
    )
    parser.add_argument(
        "runs", metavar="DIR", type=user_path, nargs="+", help="a run's folder, such as runs/room, or a folder of runs"
    )
    parser.add_argument(
        "--out", type=user_path, metavar="DIR", help="write report.html and its files here (needs matplotlib)"
    )
    parser.add_argument(
        "--baseline", metavar="SCHEDULE", help="the schedule that others are compared with, as the tables name it"
    )
    parser.add_argument(
        "--views",
        type=number_within(int, 0, MOST_VIEWS),
        default=4,
        metavar="N",
        help="test views to show of each scene and model (default 4)",
    )
    return parser
