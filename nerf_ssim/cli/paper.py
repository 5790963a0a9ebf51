"""`nerf-ssim paper NAME`: a table or figure of the paper, from its runs to its drawing."""

from __future__ import annotations

from collections.abc import Sequence

from nerf_ssim.experiments.paper.command import run_paper


def run(argv: Sequence[str]) -> int:
    """Runs and draws what the words ask for; see `run_paper`."""
    return run_paper(argv)
