"""What is said of a training that cannot go on, and of one that ends far below what it had reached."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nerf_ssim.errors import HaltedTraining, TrainingError
from nerf_ssim.runs.folder import way_on
from nerf_ssim.runs.metrics_log import NAME
from nerf_ssim.training.session import Session

__all__ = ["advising", "decline_note"]

LARGEST_DECLINE = 3.0  # dB; of a healthy run the training PSNR falls by less, and not for long
LAST_SHARE = 10  # the last tenth of the rows is how a run ends
SPREADS = 3.0  # a batch is one draw: so many standard deviations of the last ones are no decline


@contextmanager
def advising(session: Session) -> Iterator[None]:
    """Adds to a `HaltedTraining` of the block what can be done, which depends on whether anything was saved.

    Raises:
        TrainingError: with both, instead.
    """
    try:
        yield
    except HaltedTraining as halt:
        lower = halt.lower or session.config.model.learning_rates
        raise TrainingError(f"{halt.problem}; {way_on(session.folder.path, lower, halt.anew)}") from halt


def decline_note(folder: Path, learning_rates: tuple[str, ...]) -> str:
    """One line where the run in `folder` ends far below the best training PSNR in its log; else ""."""
    with open(folder / NAME, encoding="utf-8", newline="") as file:
        rows = [(int(row["iteration"]), float(row["psnr_train"])) for row in csv.DictReader(file) if row["psnr_train"]]
    if len(rows) < 2:
        return ""
    best_at, best = max(rows, key=lambda row: row[1])
    last = [psnr for _, psnr in rows[-max(1, len(rows) // LAST_SHARE) :]]
    end = math.fsum(last) / len(last)
    spread = math.sqrt(math.fsum((psnr - end) ** 2 for psnr in last) / len(last))
    if best - end <= LARGEST_DECLINE + SPREADS * spread:
        return ""
    rates = " or ".join(f"--{name}" for name in learning_rates)
    return (
        f"warning: the run ends at {end:.1f} dB of training PSNR, far below the {best:.1f} dB that it had after update "
        f"{best_at + 1}: it has diverged or collapsed, and its scores are of that; start anew with --overwrite and "
        f"a lower {rates}"
    )
