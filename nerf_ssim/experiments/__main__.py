"""`python -m nerf_ssim.experiments EXPERIMENT [--report_only] OPTIONS`: the fits of an experiment, then its report.

Options are those of `nerf-ssim fit-image`. Fits that are done stay done and an interrupted one goes on, so the same
command may be given again at any time; `--report_only` makes the report of what there is.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nerf_ssim.config.image_config import parse_images
from nerf_ssim.errors import ConfigError, UserError
from nerf_ssim.experiments.images import EXPERIMENTS, run_experiment

USAGE = "usage: python -m nerf_ssim.experiments EXPERIMENT [--report_only] OPTIONS"


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
        is_report = "--report_only" in rest
        config = parse_images([word for word in rest if word != "--report_only"])
        return run_experiment(name, config, report_only=is_report)
    except UserError as error:
        print(f"nerf_ssim.experiments: {error}", file=sys.stderr)
        return 2


def _list() -> list[str]:
    return [f"  {name:<10}{experiment.purpose}" for name, experiment in EXPERIMENTS.items()]


if __name__ == "__main__":
    sys.exit(main())
