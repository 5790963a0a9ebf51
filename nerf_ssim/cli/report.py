"""`nerf-ssim report RUN [RUN ...]`: runs side by side, by updates and by time."""

from __future__ import annotations

from collections.abc import Sequence

from nerf_ssim.config.command_line import OneLineErrors
from nerf_ssim.files import file_errors, user_path


def run(argv: Sequence[str]) -> int:
    """Print the table of the runs' scores; with `--out`, keep it there with a figure of the PSNR curves.

    Returns:
        0.
    Raises:
        UserError: a folder that holds no run, matplotlib missing for the figure, or `--out` that cannot be written.
    """
    options = _parser().parse_args(argv)

    from nerf_ssim.experiments.report.comparison import draw_psnr, load_runs, report

    runs = load_runs(options.runs)
    text = report(runs)
    print(text, end="")
    if options.out is not None:
        with file_errors(options.out):
            options.out.mkdir(parents=True, exist_ok=True)
            (options.out / "report.md").write_text(text, encoding="utf-8")
            draw_psnr(runs, options.out / "psnr.png")
        print(f"\ntable: {options.out / 'report.md'}  figure: {options.out / 'psnr.png'}")
    return 0


def _parser() -> OneLineErrors:
    parser = OneLineErrors(
        prog="nerf-ssim report",
        allow_abbrev=False,
        description="Compare runs on scenes: PSNR, SSIM and LPIPS by updates and by time.",
    )
    parser.add_argument("runs", metavar="RUN", type=user_path, nargs="+", help="a run's folder, such as runs/room")
    parser.add_argument(
        "--out", type=user_path, metavar="DIR", help="write report.md and psnr.png here (by matplotlib)"
    )
    return parser
