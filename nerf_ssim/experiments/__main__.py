"""`python -m nerf_ssim.experiments EXPERIMENT [--report_only] [--fits a,b] OPTIONS`: an experiment's fits and report.

Options are those of `nerf-ssim fit-image`. Fits that are done stay done and an interrupted one goes on, so the same
command may be given again at any time; `--fits` runs some of them only (`--fits rpp,guided`), `--report_only` none: the
report is made of what there is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from nerf_ssim.errors import ConfigError, UserError
from nerf_ssim.experiments.images import EXPERIMENTS, run_experiment
from nerf_ssim.images.options import parse_images

USAGE = "usage: python -m nerf_ssim.experiments EXPERIMENT [--report_only] [--fits NAME,NAME] OPTIONS"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the experiment that the words name; returns the exit code, as `nerf-ssim` does."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if not words or words[0] in ("-h", "--help"):
            print("\n".join([USAGE, "", *_list()]))
            return 0
        name, *rest = words
        if name not in EXPERIMENTS:
            raise ConfigError(f"{name!r} is not an experiment; there are: {', '.join(EXPERIMENTS)}")
        own = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        own.add_argument("--report_only", action="store_true")
        own.add_argument("--fits")
        chosen, rest = own.parse_known_args(rest)
        names = None if chosen.fits is None else chosen.fits.split(",")
        return run_experiment(name, parse_images(rest), report_only=chosen.report_only, names=names)
    except (UserError, argparse.ArgumentError) as error:
        print(f"nerf_ssim.experiments: {error}", file=sys.stderr)
        return 2


def _list() -> list[str]:
    return [f"  {name:<10}{experiment.purpose}" for name, experiment in EXPERIMENTS.items()]


if __name__ == "__main__":
    sys.exit(main())
