"""A whole training iteration of the canonical TensoRF: batch, march, render, losses with S3IM, TV, backward, Adam.

`python -m benchmarks tensorf --state trained --threads 2 [--decoder_precision bf16 …]` prints one JSON line; options
that are not the benchmark's own are the training command's.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

from benchmarks.ceilings import floor, measure_ceilings
from benchmarks.states import Workload, add_arguments, canonical_config, make_workload
from benchmarks.timing import compare
from nerf_ssim.training.step import take_step

__all__ = ["add_arguments", "run"]

OPS = ("march_box", "vm_density", "composite", "decode_color", "s3im", "planes_tv")


def run(args: argparse.Namespace, options: Sequence[str], **settings: object) -> dict[str, object]:
    """The record of an iteration, the mean of one on a white background and one on a black one.

    Args:
        args: `state`, `threads`, `repeats`, `reference`.
        options: training options, `--name value`.
        settings: further training options by name, and `size` of the views; what tests make small.
    """
    torch.set_num_threads(args.threads)
    size = settings.pop("size", 384)
    workload = make_workload(args.state, canonical_config(options).replace(**settings), size=size)
    counts: list[tuple[int, int]] = []
    record = compare(
        "tensorf_iteration", lambda: counts.extend(iterations_in_turn(workload)), args.repeats,
        has_reference=args.reference, ops=OPS, runs_a_call=2,
    )  # fmt: skip
    density, colour = (sum(kind) / len(counts) for kind in zip(*counts, strict=True))
    return record | sizes(workload, args.state) | {
        "density_samples": round(density), "colour_samples": round(colour),
        "floor": floor(
            measure_ceilings(), density_samples=density, colour_samples=colour, parameters=n_parameters(workload),
            native_ms=float(record["native_ms"]),
        ),
    }  # fmt: skip


def iterations_in_turn(workload: Workload) -> list[tuple[int, int]]:
    """Trains on a white and then on a black batch; returns how many density and colour samples each had."""
    counts = []
    for seed in background_seeds():
        workload.recipe.generators["background"].manual_seed(seed)
        render = take_step(workload.recipe, workload.batches, workload.s3im, 1.0, workload.iteration).render
        counts.append((render.n_samples, render.n_coloured))
    return counts


def background_seeds() -> tuple[int, int]:
    """Seeds of the background's generator whose first coin is a white batch, and a black one."""
    coins = {seed: float(torch.rand((), generator=torch.Generator().manual_seed(seed))) for seed in range(64)}
    white = next(seed for seed, coin in coins.items() if coin < 0.5)
    black = next(seed for seed, coin in coins.items() if coin >= 0.5)
    return white, black


def sizes(workload: Workload, state: str) -> dict[str, object]:
    """What a record says of the field and the batch."""
    config = workload.config
    return {
        "state": state,
        "resolution": workload.recipe.field.resolution,
        "parameters": n_parameters(workload),
        "rays": config.model.batch_size,
    }


def n_parameters(workload: Workload) -> int:
    """Of the field, grids and decoder together."""
    return sum(parameter.numel() for parameter in workload.recipe.field.parameters())
