"""The table of metrics of a view, and the scores of a split. A new metric is one entry of `METRICS`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nerf_ssim.errors import MissingDependency
from nerf_ssim.evaluation import metrics
from nerf_ssim.evaluation.perceptual import LpipsScorer


@dataclass(frozen=True)
class Metric:
    """One entry of `METRICS`: its title and unit in tables, its decimals, and how it is computed.

    `score` takes a render and the truth, both `[height, width, 3]` in [0, 1], and what the scores are made with. It
    returns a finite number, or the reason why there is none.
    """

    title: str
    decimals: int
    score: Callable[[Tensor, Tensor, Scoring], float | str]
    unit: str = ""


@dataclass(frozen=True)
class Scoring:
    """What scores are made with: the variant of SSIM, LPIPS's scorers, and which pixels count.

    `valid` is bool `[height, width]`, None where all pixels count. PSNR is that of the pixels that count; the scores
    that compare neighbourhoods see the truth in the place of the others. `depth` is the render's, along the optical
    axis, and `true_depth` the truth, 0 where it is unknown or does not count: both `[height, width]` in scene units,
    None where the scene has none.
    """

    ssim_variant: str
    lpips: Sequence[LpipsScorer]
    valid: Tensor | None = None
    depth: Tensor | None = None
    true_depth: Tensor | None = None


def _psnr(rendered: Tensor, truth: Tensor, scoring: Scoring) -> float | str:
    value = masked_psnr(rendered, truth, scoring.valid)
    return value if math.isfinite(value) else "the render equals the truth, its PSNR is infinite"


def masked_psnr(rendered: Tensor, truth: Tensor, valid: Tensor | None) -> float:
    """The PSNR in dB of pictures `[height, width, 3]` over the pixels that count; all do where `valid` is None."""
    if valid is None:
        return metrics.psnr(rendered, truth)
    valid = valid.to(rendered.device)
    return metrics.psnr(rendered[valid][None], truth[valid][None])


def _ssim(rendered: Tensor, truth: Tensor, scoring: Scoring) -> float | str:
    try:
        return metrics.ssim(rendered, truth, scoring.ssim_variant)
    except (ValueError, MissingDependency) as error:
        return str(error)


def _lpips(net: str) -> Callable[[Tensor, Tensor, Scoring], float | str]:
    def score(rendered: Tensor, truth: Tensor, scoring: Scoring) -> float | str:
        scorer = next((one for one in scoring.lpips if one.net == net), None)
        if scorer is None:
            return NO_LPIPS
        value = scorer.score(rendered, truth)
        return scorer.note if value is None else value

    return score


def _depth(measure: Callable[[Tensor, Tensor], float]) -> Callable[[Tensor, Tensor, Scoring], float | str]:
    def score(rendered: Tensor, truth: Tensor, scoring: Scoring) -> float | str:
        if scoring.depth is None or scoring.true_depth is None:
            return NO_DEPTH
        if not bool((scoring.true_depth > 0).any()):
            return "no pixel of its depth map is known"
        value = measure(scoring.depth, scoring.true_depth)
        return value if math.isfinite(value) else "the render's depth holds NaN or infinity"

    return score


NO_LPIPS = "LPIPS was not asked for"
NO_DEPTH = "the scene has no depth maps"

METRICS = {
    "psnr": Metric("PSNR", 2, _psnr, unit="dB"),
    "ssim": Metric("SSIM", 4, _ssim),
    "lpips_alex": Metric("LPIPS alex", 4, _lpips("alex")),
    "lpips_vgg": Metric("LPIPS vgg", 4, _lpips("vgg")),
    "depth_error": Metric("depth error", 4, _depth(metrics.depth_error)),
    "depth_within_5": Metric("depth within 5%", 3, _depth(metrics.depth_within)),
}
"""Every metric of a view, by its key in `results.json`: results, tables, command lines and reports follow this."""


@dataclass(frozen=True)
class ImageScore:
    """The metrics of one image by name; None where one could not be computed."""

    name: str
    values: Mapping[str, float | None]


@dataclass(frozen=True)
class Scores:
    """The metrics of a split, means over its images.

    `notes[metric]` says why a metric is None; `lpips_note` also says where LPIPS's weights came from.
    """

    per_image: tuple[ImageScore, ...]
    ssim_variant: str
    lpips_note: str
    notes: Mapping[str, str]

    def mean(self, metric: str) -> float | None:
        """The mean over images (of PSNR: dB, not the PSNR of the mean error).

        It is None as soon as one image lacks the metric: a mean over the others would compare with nothing.
        """
        values = [score.values[metric] for score in self.per_image]
        known = [value for value in values if value is not None]
        return math.fsum(known) / len(known) if known and len(known) == len(values) else None

    @property
    def means(self) -> dict[str, float | None]:
        """The mean of each metric, by name."""
        return {name: self.mean(name) for name in METRICS}


def score_image(name: str, rendered: Tensor, truth: Tensor, scoring: Scoring, notes: dict[str, str]) -> ImageScore:
    """Every metric of one view; why one could not be computed goes to `notes`, the first such view's reason."""
    values: dict[str, float | None] = {}
    is_finite = bool(torch.isfinite(rendered).all())
    if scoring.valid is not None:
        rendered = torch.where(scoring.valid.to(rendered.device)[..., None], rendered, truth)
    for metric, entry in METRICS.items():
        found = entry.score(rendered, truth, scoring) if is_finite else "the render holds NaN or infinity"
        values[metric] = None if isinstance(found, str) else found
        if isinstance(found, str):
            # LPIPS lacks weights and a scene lacks depth, whichever the view.
            is_of_view = not is_finite or not (metric.startswith("lpips") or found == NO_DEPTH)
            notes.setdefault(metric, f"{name}: {found}" if is_of_view else found)
    return ImageScore(name, values)


def score_cells(scores: Mapping[str, Any]) -> list[str]:
    """The digits of each metric of `METRICS`, or a dash where it could not be computed or was not there yet."""
    values = [(scores.get(name), metric.decimals) for name, metric in METRICS.items()]
    return ["-" if value is None else f"{value:.{decimals}f}" for value, decimals in values]


def score_line(scores: Mapping[str, Any]) -> str:
    """The metrics that could be computed, with their titles, for a line of text."""
    cells = zip(METRICS.values(), score_cells(scores), strict=True)
    return ", ".join(f"{metric.title} {cell} {metric.unit}".rstrip() for metric, cell in cells if cell != "-")


def score_titles() -> list[str]:
    """What stands above those cells."""
    return [f"{metric.title} {metric.unit}".rstrip() for metric in METRICS.values()]
