"""The figures of each iteration on their way to `metrics.csv` and the progress bar.

Values stay tensors until they are needed: reading one waits for the device, so many rows are read at a time. That is
also when they are checked, so a NaN is found before the next checkpoint is written over good ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nerf_ssim.errors import HaltedTraining
from nerf_ssim.models.parts.rendering import Render
from nerf_ssim.ops.ssim import SsimStatistics
from nerf_ssim.runs.metrics_log import MetricsLog
from nerf_ssim.training.objective import PART_FIGURES

__all__ = ["Journal", "columns_of", "defined", "psnr_of", "statistics_row"]

PHOTOMETRIC_TERMS = ("mse", "ssim")

Row = dict[str, Tensor | float]


def columns_of(terms: Sequence[str], rates: Sequence[str]) -> tuple[str, ...]:
    """The columns of `metrics.csv` for a model with loss terms and learning rates of these names."""
    terms = (*PHOTOMETRIC_TERMS, *terms)
    return (
        "iteration",
        "seconds",
        *terms,
        "psnr_train",
        "psnr_test",
        *rates,
        "samples_per_ray",
        "coloured_per_ray",
        "opacity",
        "ssim_weight",
        "similarity",
        "luminance",
        "structure",
        "mean_difference",
        "mean_difference_abs",
        *(f"grad_{term}" for term in terms),
        *PART_FIGURES,
    )


class Journal:
    """Collects a row an iteration, checks it, and writes every `stride`-th.

    Rows with a test score or with measured luminance are always written. `terms` names the model's own loss terms.
    """

    def __init__(self, log: MetricsLog, stride: int, terms: Sequence[str]) -> None:
        self.log = log
        self.stride = stride
        self.terms = (*PHOTOMETRIC_TERMS, *terms)
        self.pending: list[tuple[int, Row, bool]] = []
        self.latest: dict[str, float] = {}
        self.psnr_train: float | None = None

    def record(self, iteration: int, row: Row, *, terms: dict[str, Tensor]) -> None:
        """Takes the figures of an iteration; `terms` are checked for NaN at the next `flush`."""
        detached = {name: value.detach() if isinstance(value, Tensor) else value for name, value in row.items()}
        detached |= {name: term.detach() for name, term in terms.items()}
        self.pending.append((iteration, detached, "luminance" in row or iteration % self.stride == 0))

    def add_test_score(self, psnr: float) -> None:
        """Puts the test PSNR into the newest row, which is then written whatever the stride."""
        iteration, row, _ = self.pending[-1]
        self.pending[-1] = (iteration, row | {"psnr_test": psnr}, True)

    def flush(self) -> None:
        """Reads, checks and writes the collected rows.

        Raises:
            HaltedTraining: a loss term that is not finite, with its iteration and name; the rows before it are written.
        """
        pending, self.pending = self.pending, []
        errors = []
        rows = read_together([row for _, row, _ in pending])
        for (iteration, _, is_written), values in zip(pending, rows, strict=True):
            values["psnr_train"] = psnr_of(values["mse"])
            bad = [name for name in self.terms if name in values and not math.isfinite(values[name])]
            if bad:
                raise HaltedTraining(f"iteration {iteration}: the loss term {bad[0]!r} is {values[bad[0]]}")
            errors.append(values["mse"])
            self.latest = values
            if is_written:
                self.log.write(
                    iteration, {name: defined(value) for name, value in values.items() if name != "iteration"}
                )
        if errors:
            self.psnr_train = psnr_of(sum(errors) / len(errors))


def read_together(rows: Sequence[Row]) -> list[dict[str, float]]:
    """The rows as plain numbers. All tensors of a kind come from their device in one copy, which waits once."""
    kinds: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for row in rows:
        for value in row.values():
            if isinstance(value, Tensor):
                kinds.setdefault((value.device, value.dtype), []).append(value)
    numbers = {kind: iter(torch.stack(values).tolist()) for kind, values in kinds.items()}

    def read(value: Tensor | float) -> float:
        return float(next(numbers[value.device, value.dtype]) if isinstance(value, Tensor) else value)

    return [{name: read(value) for name, value in row.items()} for row in rows]


def defined(value: Tensor | float) -> float | None:
    """A figure as a row of the log has it; one that is undefined, as the cosine of a gradient of 0, has no value."""
    number = float(value)
    return None if math.isnan(number) else number


def statistics_row(statistics: SsimStatistics) -> Row:
    """The luminance monitor's columns."""
    return {
        "similarity": statistics.ssim,
        "luminance": statistics.luminance,
        "structure": statistics.structure,
        "mean_difference": statistics.mean_difference,
        "mean_difference_abs": statistics.mean_difference_abs,
    }


def render_row(render: Render) -> Row:
    """How much work a render was, a ray, and its mean opacity."""
    n_rays = render.rgb.shape[0]
    return {
        "samples_per_ray": render.n_samples / n_rays,
        "coloured_per_ray": render.n_coloured / n_rays,
        "opacity": render.opacity.detach().mean(),
    }


def psnr_of(mse: float) -> float:
    """PSNR in dB of a mean squared error on [0, 1]; capped at 200 dB for an error of 0."""
    return -10.0 * math.log10(max(mse, 1e-20))
