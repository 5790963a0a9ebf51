"""One update of a field: what the loop does thousands of times, and the benchmarks time.

1. The batch: pixels are drawn, and their rays made.
2. The learning rates of this iteration are set.
3. The rays are rendered: samples, density, weights, and the colour of the samples that count.
4. The losses: MSE, SSIM while the schedule has it on, and the model's own regularisers, each a named term.
5. Where it is asked for, the gradient of each term is measured.
6. The sum of the terms is differentiated, once.
7. The optimiser updates the field.

The loop around it lets the schedule see the luminance, writes the log, runs milestones and saves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from nerf_ssim.errors import TrainingError
from nerf_ssim.models.parts.rendering import Render
from nerf_ssim.models.recipe import Recipe
from nerf_ssim.ops.ssim import SsimStatistics
from nerf_ssim.rays.batches import PixelBatches, RayBatch
from nerf_ssim.ssim.losses import S3IM
from nerf_ssim.training.journal import Row, render_row
from nerf_ssim.training.objective import gradient_norms, part_figures, photometric_terms
from nerf_ssim.training.processes import ALONE, Processes

__all__ = ["Step", "take_step"]


@dataclass(frozen=True)
class Step:
    """What an update was made of.

    batch, render: of this process's rays. rendered, target: colours `[rays, 3]` of the whole batch. figures: of the
    batch's render, for the log. terms: weighted loss terms by name. rates: learning rates by column name. norms:
    gradient norm of each term and the figures of SSIM's two parts, empty where they were not asked for. statistics: of
    SSIM, None where it was off.
    """

    batch: RayBatch
    render: Render
    rendered: Tensor
    target: Tensor
    figures: Row
    terms: dict[str, Tensor]
    rates: dict[str, float]
    norms: dict[str, Tensor]
    statistics: SsimStatistics | None


def take_step(
    recipe: Recipe,
    batches: PixelBatches,
    s3im: S3IM | None,
    ssim_weight: float,
    iteration: int,
    *,
    measures_norms: bool = False,
    processes: Processes = ALONE,
) -> Step:
    """Draws a batch and updates the field once, in the canonical order: render, losses, step.

    Args:
        ssim_weight: 0 means that SSIM is not computed; above 0 needs `s3im`.
        iteration: the update's number, from 0.
        measures_norms: whether each term's own gradient norm is wanted, and with SSIM on the figures of its two parts:
            a backward pass a term, and three for the parts.
        processes: that make this update together, each with its share of the batch.
    Raises:
        TrainingError: a batch in which no ray has a sample.
    """
    batch = batches.next()
    rates = recipe.before_step(iteration)
    render = recipe.render(batch.rays, iteration)
    figures = processes.figures_of_batch(render_row(render))
    if figures["samples_per_ray"] == 0:
        raise TrainingError(f"iteration {iteration}: no ray of the batch has a sample inside the occupied box")

    rendered, target = processes.whole(render.rgb, batch.rgb)
    terms, ssim = photometric_terms(rendered, target, s3im, ssim_weight, measures_parts=measures_norms)
    terms |= processes.terms_of_batch(recipe.regularizers(iteration, render, batch.rgb), recipe, render)
    parameters = list(recipe.field.parameters())
    norms = gradient_norms(terms, parameters, processes.averaged) if measures_norms else {}
    if ssim is not None and ssim.parts is not None:
        norms |= part_figures(terms["mse"], ssim.parts, ssim_weight, rendered, parameters, processes.averaged)
    recipe.optimizer.zero_grad(set_to_none=True)
    reduce(torch.add, terms.values()).backward()
    processes.average_gradients(parameters)
    recipe.optimizer.step()
    return Step(
        batch, render, rendered, target, figures, terms, rates, norms, None if ssim is None else ssim.statistics
    )
