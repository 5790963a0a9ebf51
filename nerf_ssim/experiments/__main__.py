"""`python -m nerf_ssim.experiments EXPERIMENT …`: the former name of `nerf-ssim paper`, with its former options."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nerf_ssim.errors import ConfigError, UserError
from nerf_ssim.experiments.paper.command import run_paper

NAMES = {
    "figure2": "fig2a",
    "figure3": "fig3",
    "figure5": "fig5",
    **{name: name for name in ("table2", "table3", "options", "memory", "precisions", "networks")},
}
OPTIONS = {"--report_only": "--draw_only", "--fits": "--only", "--expname": "--name"}


def main(argv: Sequence[str] | None = None) -> int:
    """Does what `nerf-ssim paper` does under the experiment's present name, and says it; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        name, *rest = words or ["--help"]
        if name not in NAMES and not name.startswith("-"):
            raise ConfigError(f"{name!r} is not an experiment; there are: {', '.join(NAMES)}")
        if name in NAMES:
            print(f"this is now: nerf-ssim paper {NAMES[name]}", file=sys.stderr)
        return run_paper([NAMES.get(name, name), *map(present_option, rest)])
    except UserError as error:
        print(f"nerf_ssim.experiments: {error}", file=sys.stderr)
        return 2
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0


def present_option(word: str) -> str:
    """A word of the command line with the name that its option has now."""
    name, equals, value = word.partition("=")
    return f"{OPTIONS.get(name, name)}{equals}{value}"


if __name__ == "__main__":
    sys.exit(main())
