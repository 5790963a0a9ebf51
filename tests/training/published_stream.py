"""The published code's random numbers, drawn in its order, behind this project's implementation.

Runs of two programs at "the same seed" differ because they draw different numbers, and test PSNR early in training
varies by a decibel or two between seeds. This script removes that difference: initial weights, pixel order, jitter, the
white coin and the S3IM orders come from one global generator, seeded and consumed as the published TensoRF trainer does
(`torch.manual_seed(20211202)`, `np.random.seed(20211202)`). What is left is a comparison of the two implementations.

    python -m tests.training.published_stream --ssim_remove_at 70 --updates 801 \\
        --config replica_small.txt --datadir $NERF_SSIM_SHARED/data/replica_office0
"""

from __future__ import annotations

import argparse
import tempfile

import numpy as np
import torch
from torch import Tensor, nn

from nerf_ssim.models.config import parse
from nerf_ssim.rays.batches import PixelBatches, RayBatch
from nerf_ssim.training.objective import photometric_terms
from nerf_ssim.training.scoring import score_test_views
from nerf_ssim.training.session import Session

SEED = 20211202
SCORED_AT = (70, 100, 200, 400, 600, 800)


@torch.no_grad()
def draw_initial_weights(field: nn.Module) -> None:
    """Grids, basis and decoder in the order in which the published constructor draws them."""
    for grid in (field.density_grid, field.appearance_grid):
        for plane, line in zip(grid.planes, grid.lines, strict=True):
            height, width, components = plane.shape
            plane.copy_(0.1 * torch.randn(components, height, width).permute(1, 2, 0))
            line.copy_(0.1 * torch.randn(components, line.shape[0]).T)
    field.basis.weight.copy_(nn.Linear(field.basis.in_features, field.basis.out_features, bias=False).weight)
    for layer in field.decoder.layers:
        drawn = nn.Linear(layer.in_features, layer.out_features)
        layer.weight.copy_(drawn.weight)
        layer.bias.copy_(drawn.bias)
    field.decoder.layers[-1].bias.zero_()


class PublishedBatches:
    """Epochs of one stored permutation from NumPy's global generator, the tail dropped."""

    def __init__(self, batches: PixelBatches) -> None:
        self.batches = batches
        self.cursor = batches.total
        self.order = torch.empty(0, dtype=torch.int64)

    def next(self) -> RayBatch:
        size, views = self.batches.batch_size, self.batches.views
        self.cursor += size
        if self.cursor + size > self.batches.total:
            self.order, self.cursor = torch.from_numpy(np.random.permutation(self.batches.total)), 0
        pixels = self.order[self.cursor : self.cursor + size]
        return RayBatch(self.batches.rays_of(pixels), views.images.view(-1, 3)[pixels].float() / 255.0)


def main() -> None:
    """Trains with the published stream and prints the test PSNR at the reference's iterations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=801)
    options, rest = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        session = Session(parse([*rest, "--basedir", folder, "--expname", "published_stream", "--N_vis", "-1"]))
        torch.manual_seed(SEED)
        np.random.seed(SEED)
        recipe, size = session.recipe, session.config.model.batch_size
        draw_initial_weights(recipe.field)
        batches = PublishedBatches(session.batches)

        def draw_orders(generator: torch.Generator | None = None) -> Tensor:
            repeats = session.config.ssim.s3im_repeat_time - 1
            return torch.stack([torch.arange(size), *(torch.randperm(size) for _ in range(repeats))])

        session.s3im.draw_orders = draw_orders
        for iteration in range(options.updates):
            batch = batches.next()
            recipe.before_step(iteration)
            jitter = torch.rand(size)
            is_white = float(torch.rand(1) < 0.5)
            render = recipe.field.render(batch.rays, n_samples=recipe.n_samples, jitter=jitter, background=is_white)
            weight = session.schedule.weight_at(iteration)
            terms, _ = photometric_terms(render.rgb, batch.rgb, session.s3im, weight)
            terms |= recipe.regularizers(iteration, render, batch.rgb)
            recipe.optimizer.zero_grad(set_to_none=True)
            sum(terms.values()).backward()
            recipe.optimizer.step()
            session.iteration = iteration + 1
            if session.iteration in SCORED_AT:
                print(f"{session.iteration} updates: test PSNR {score_test_views(session):.2f} dB", flush=True)
            # The ray filter of the second mask would start another epoch; the scored updates end before it.
            for event in recipe.after_step(iteration, session.batches):
                print(f"iteration {iteration}: {event}", flush=True)


if __name__ == "__main__":
    main()
