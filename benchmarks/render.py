"""One test view of the canonical TensoRF, as the final scoring renders it.

`python -m benchmarks render --state trained --threads 2` prints one JSON line; options that are not the benchmark's own
are the training command's.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

from benchmarks.ceilings import floor, measure_ceilings
from benchmarks.states import add_arguments, canonical_config, make_workload
from benchmarks.tensorf import sizes
from benchmarks.timing import compare
from nerf_ssim.models.parts.rendering import Render
from nerf_ssim.rays.cameras import Rays
from nerf_ssim.training.trained import render_camera

__all__ = ["add_arguments", "run"]

OPS = ("march_box", "vm_density", "composite", "decode_color")


def run(args: argparse.Namespace, options: Sequence[str], **settings: object) -> dict[str, object]:
    """The record of one view; arguments as for the iteration's benchmark."""
    torch.set_num_threads(args.threads)
    size = settings.pop("size", 384)
    workload = make_workload(args.state, canonical_config(options).replace(**settings), size=size)
    views, counts = workload.scene.test, []

    def render_rays(rays: Rays) -> Render:
        render = workload.recipe.render_test(rays, final=True)
        counts.append((render.n_samples, render.n_coloured))
        return render

    def view() -> None:
        counts.clear()
        render_camera(render_rays, views.c2w[0], views.K[0], views.height, views.width)

    record = compare("render_view", view, args.repeats, has_reference=args.reference, ops=OPS)
    density, colour = (sum(kind) for kind in zip(*counts, strict=True))
    return record | sizes(workload, args.state) | {
        "rays": views.height * views.width, "density_samples": density, "colour_samples": colour,
        "floor": floor(
            measure_ceilings(), density_samples=density, colour_samples=colour, parameters=0,
            native_ms=float(record["native_ms"]),
        ),
    }  # fmt: skip
