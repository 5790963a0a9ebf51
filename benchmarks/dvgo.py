"""A whole training iteration of the canonical contracted DVGO: batch, march, render, losses with S3IM, TV, masked Adam.

`python -m benchmarks dvgo --state sparse --threads 2 --reference 0` prints one JSON line; options that are not the
benchmark's own are the training command's. `step0` is the first iteration: 63^3 voxels, all of them slightly opaque.
`dense` and `sparse` are a room with opaque walls at 320^3 voxels, before and after the step at which total variation
leaves the voxels without a gradient alone; they take 7 GB, and the reference takes 17.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from benchmarks.states import room_scene
from benchmarks.timing import compare
from nerf_ssim.datasets.room import HALF_ROOM
from nerf_ssim.models.config import Config, parse
from nerf_ssim.models.dvgo.contracted import ContractedDVGO
from nerf_ssim.models.dvgo.recipe import ContractedRecipe, DvgoRecipe
from nerf_ssim.models.parts.voxel_grid import node_coords
from nerf_ssim.ops.voxels import resize_volume
from nerf_ssim.rays.batches import PixelBatches
from nerf_ssim.runs.device import choose_device
from nerf_ssim.ssim.losses import S3IM
from nerf_ssim.training.session import make_generators, make_s3im, scene_on
from nerf_ssim.training.step import take_step

__all__ = ["add_arguments", "run"]

STATES = ("step0", "dense", "sparse")
OPS = ("march_contracted", "voxel_features", "composite_voxels", "decode_color", "distortion_loss", "voxel_adam_step")
_STILL = 1e-9  # learning rates at which the optimiser does all its work and the field stays what it is
_WALL, _AIR = 30.0, -30.0  # raw density beyond the room's surface and within: opaque and empty at every stage
_COARSE_NODES = 8  # along an axis: colour features vary over some 40 voxels of the largest grid


@dataclass
class Workload:
    """All that an iteration needs."""

    recipe: DvgoRecipe
    batches: PixelBatches
    s3im: S3IM
    iteration: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which state is measured."""
    parser.add_argument("--state", choices=STATES, default="step0", help="moment of training (default %(default)s)")


def run(args: argparse.Namespace, options: Sequence[str], **settings: object) -> dict[str, object]:
    """The record of an iteration.

    Args:
        args: `state`, `threads`, `repeats`, `reference`.
        options: training options, `--name value`.
        settings: further training options by name, and `size` of the views; what tests make small.
    """
    torch.set_num_threads(args.threads)
    size = settings.pop("size", 384)
    config = parse(["--config", "dvgo_replica_scene1.txt", "--datadir", "synthetic", *options]).replace(**settings)
    workload = make_workload(args.state, config, size=size)
    counts: list[tuple[int, int]] = []

    def iterate() -> None:
        render = take_step(workload.recipe, workload.batches, workload.s3im, 1.0, workload.iteration).render
        counts.append((render.n_samples, render.n_coloured))

    record = compare("dvgo_iteration", iterate, args.repeats, has_reference=args.reference, ops=OPS)
    density, colour = (sum(kind) / len(counts) for kind in zip(*counts, strict=True))
    return record | {
        "state": args.state,
        "resolution": workload.recipe.field.resolution,
        "parameters": sum(parameter.numel() for parameter in workload.recipe.field.parameters()),
        "rays": config.model.batch_size,
        "density_samples": round(density),
        "colour_samples": round(colour),
    }


def make_workload(state: str, config: Config, *, size: int) -> Workload:
    """The canonical recipe in `state`, on a synthetic scene of `size` x `size` views; its learning rates are tiny."""
    device = choose_device(config.run.device)
    config = config.replace(device=device, lrate_density=_STILL, lrate_k0=_STILL, lrate_rgbnet=_STILL)
    scene, generators = scene_on(room_scene(size), device), make_generators(config)
    recipe = ContractedRecipe(config, scene, generators)
    batches = PixelBatches(scene.train, config.model.batch_size, generators["pixels"])
    recipe.prepare(batches)
    iteration = 0
    if state != "step0":
        fill_with_room(recipe.field)
        for step in recipe.stage.scalings:
            recipe.before_step(step - 1)
            recipe.before_batch(step - 1, batches)
        dense_before = config.model.tv_dense_before
        iteration = dense_before - 2 if state == "dense" else dense_before
    return Workload(recipe, batches, make_s3im(config), iteration)


@torch.no_grad()
def fill_with_room(field: ContractedDVGO) -> None:
    """Density: opaque where contracted space holds what lies beyond the room. Colour features: smooth noise."""
    q = node_coords(field.resolution, field.aabb.device) * (1 + field.bg_len)
    radius = q.norm(dim=-1, keepdim=True)
    left = (1 + field.bg_len - radius).clamp_min(1e-6)  # of the shell, beyond the node
    p = torch.where(radius <= 1, q, q / radius * (field.bg_len / left))
    half_room = torch.from_numpy(HALF_ROOM).to(q)
    is_wall = ((p * field.radius + field.centre).abs() > half_room).any(-1)
    field.density.values[..., 0] = torch.where(is_wall, _WALL, _AIR)
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(*[_COARSE_NODES] * 3, field.k0.values.shape[3], generator=generator)
    field.k0.values.copy_(resize_volume(coarse, field.resolution))
