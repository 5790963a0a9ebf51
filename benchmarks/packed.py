"""Benchmarks of the ops on packed samples: grids, marching and compositing, at the sizes of a TensoRF iteration."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from benchmarks.timing import compare
from nerf_ssim.ops import compositing, grids, marching, total_variation

_AABB = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


def _rays(rays: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rays from the middle of the box in all directions, as cameras inside a room have them."""
    generator = torch.Generator().manual_seed(0)
    origins = torch.rand(rays, 3, generator=generator) - 0.5
    directions = F.normalize(torch.randn(rays, 3, generator=generator), dim=1)
    return origins, directions, torch.rand(rays, generator=generator)


def _march(samples: int, nodes: int, occupancy: marching.OccupancyGrid | None = None) -> marching.Samples:
    """About `samples` samples at half a cell's distance."""
    step = 1.0 / (nodes - 1)
    rays = max(1, round(samples * step / 0.96))  # a ray from the middle runs about 0.96 to the box's side
    origins, directions, jitter = _rays(rays)
    return marching.march_box(origins, directions, _AABB, 0.0, 9.0, step, math.ceil(3.5 / step), jitter, occupancy)


def benchmark_grids(samples: int, nodes: int, repeats: int, has_reference: bool) -> list[dict[str, object]]:
    """Density (16 components) and appearance (48) of the VM grids, forward and backward, and one plane's TV."""
    records = []
    for op, channels, share in (("vm_density", 16, 1.0), ("vm_features", 48, 0.4)):
        coords = _march(samples, nodes).coords[: int(samples * share)]
        generator = torch.Generator().manual_seed(1)
        planes = [torch.randn(nodes, nodes, channels, generator=generator).requires_grad_() for _ in range(3)]
        lines = [torch.randn(nodes, channels, generator=generator).requires_grad_() for _ in range(3)]
        function = getattr(grids, op)
        upstream = torch.ones_like(function(planes, lines, coords))

        def run(function=function, planes=planes, lines=lines, coords=coords, upstream=upstream) -> None:
            torch.autograd.grad(function(planes, lines, coords), (*planes, *lines), upstream)

        sizes = {"samples": len(coords), "nodes": nodes, "channels": channels}
        records.append(compare(op, run, repeats, has_reference=has_reference, **sizes))

    plane = torch.randn(nodes, nodes, 48).requires_grad_()
    records.append(
        compare(
            "planes_tv",
            lambda: torch.autograd.grad(total_variation.plane_tv(plane), plane),
            repeats,
            has_reference=has_reference,
            nodes=nodes,
            channels=48,
        )
    )
    return records


def benchmark_march(samples: int, nodes: int, repeats: int, has_reference: bool) -> list[dict[str, object]]:
    """Marching without and with an occupancy volume of which half is empty."""
    records = []
    empty_half = torch.ones(nodes, nodes, nodes, dtype=torch.bool)
    empty_half[: nodes // 2] = False
    for occupancy in (None, marching.OccupancyGrid(empty_half, _AABB)):
        kept = len(_march(samples, nodes, occupancy).t)
        records.append(
            compare(
                "march_box",
                lambda occupancy=occupancy: _march(samples, nodes, occupancy),
                repeats,
                has_reference=has_reference,
                samples=kept,
                occupancy=int(occupancy is not None),
            )
        )
    return records


def benchmark_composite(samples: int, nodes: int, repeats: int, has_reference: bool) -> list[dict[str, object]]:
    """Weights along the rays, then the sum of colours over them, forward and backward."""
    packed = _march(samples, nodes)
    n_rays = len(packed.ray_offsets) - 1
    sigma = torch.rand(len(packed.t), generator=torch.Generator().manual_seed(1)).requires_grad_()
    values = torch.rand(len(packed.t), 3).requires_grad_()
    with torch.no_grad():
        weights = compositing.composite(sigma, packed.delta, packed.ray_offsets, distance_scale=25.0).weights
    weights.requires_grad_()

    def run_composite() -> None:
        result = compositing.composite(sigma, packed.delta, packed.ray_offsets, distance_scale=25.0)
        torch.autograd.grad(result.weights.sum() + result.opacity.sum(), sigma)

    def run_accumulate() -> None:
        torch.autograd.grad(compositing.accumulate(weights, values, packed.ray_index, n_rays).sum(), (weights, values))

    sizes = {"samples": len(packed.t), "rays": n_rays}
    return [
        compare("composite", run_composite, repeats, has_reference=has_reference, **sizes),
        compare("accumulate", run_accumulate, repeats, has_reference=has_reference, **sizes),
    ]


class PackedBenchmark:
    """One of the functions above as a benchmark of the command line."""

    def __init__(self, measure: Callable[[int, int, int, bool], list[dict[str, object]]]) -> None:
        self.measure = measure
        self.__doc__ = measure.__doc__

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """How many samples, and how fine a grid."""
        parser.add_argument("--samples", type=int, default=1_800_000, help="packed samples (default %(default)s)")
        parser.add_argument("--nodes", type=int, default=300, help="grid nodes along each axis (default %(default)s)")

    def run(self, args: argparse.Namespace, options: Sequence[str] = ()) -> list[dict[str, object]]:
        """The records, one an op."""
        torch.set_num_threads(args.threads)
        return self.measure(args.samples, args.nodes, args.repeats, args.reference)


GRIDS = PackedBenchmark(benchmark_grids)
MARCH = PackedBenchmark(benchmark_march)
COMPOSITE = PackedBenchmark(benchmark_composite)
