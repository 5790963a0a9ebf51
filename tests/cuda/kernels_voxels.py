"""Dense voxel grids: cases against float64 autograd of the reference, and planted defects."""

from __future__ import annotations

import numpy as np
import torch
from simulator import Case, Kernel, Mutation, single, unwritten
from torch import Tensor

from nerf_ssim.ops.reference import voxels as reference
from nerf_ssim.ops.voxels import RUN

# Nodes and channels, samples. The first fills several blocks; few nodes, so that blocks share addresses.
SIZES = [
    ((4, 3, 5, 12), 300),
    ((5, 4, 3, 1), 700),
    ((3, 4, 5, 3), 90),
    ((2, 2, 40, 4), 60),  # lines of several runs
    ((1, 2, 1, 4), 40),
    ((2, 2, 2, 12), 1),
    ((2, 3, 2, 1), 0),
]
RUN_OF_TWO_BLOCKS = (1, 7, 43, 4), 900  # nodes in the order of threads: the 256th lies within a run


def make_coords(samples: int) -> Tensor:
    """Points inside, in the fading cell around the box and beyond; the first ones on corners."""
    coords = torch.rand(samples, 3, generator=torch.Generator().manual_seed(samples), dtype=torch.float64) * 2.6 - 1.3
    special = torch.tensor([[-1.0, -1, -1], [1, 1, 1], [1, 0, -1], [-9, 0, 0], [0, 3e9, 0]], dtype=torch.float64)
    coords[: len(special)] = special[:samples]
    return coords.float().double()


def shape_of(nodes: list[int], channels: int = 0) -> dict:
    """A grid's shape as the launchers take it."""
    return {"shape": {"nodes": tuple(nodes), "channels": channels}}


def forward_cases() -> list[Case]:
    """Samples of every size of grid."""
    cases = []
    for (*nodes, channels), samples in SIZES:
        grid = torch.randn(*nodes, channels, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        grid, coords = grid.float().double(), make_coords(samples)
        cases.append(
            Case(
                name=f"{nodes} x {channels}, {samples} samples",
                launcher="launch_voxel_features",
                arguments={
                    **shape_of(nodes, channels),
                    "grid": single(grid),
                    "coords": single(coords),
                    "samples": samples,
                    "out": unwritten(samples, channels),
                },
                expected={"out": reference.voxel_features(grid, coords).numpy()},
                elements=samples if samples == 300 else 0,
                floor=(12, 48),
            )
        )
    return cases


def upstream_and_gradient(nodes: list[int], channels: int, coords: Tensor) -> tuple[Tensor, Tensor]:
    """A gradient of the samples, a third of it zero, and what it makes of the grid's."""
    generator = torch.Generator().manual_seed(2)
    upstream = torch.randn(len(coords), channels, generator=generator, dtype=torch.float64).float().double()
    upstream[::3] = 0
    grid = torch.zeros(*nodes, channels, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(reference.voxel_features(grid, coords), grid, upstream)
    return upstream, gradient


def runs_with(gradient: Tensor) -> np.ndarray:
    """Which runs of 64 floats of the lines along z hold something else than zeros, uint8 [X, Y, runs]."""
    lines = gradient.flatten(2)
    lines = torch.nn.functional.pad(lines, (0, -lines.shape[2] % RUN))
    return lines.unflatten(2, (-1, RUN)).ne(0).any(-1).to(torch.uint8).numpy()


def atomic_cases() -> list[Case]:
    """What is there already stays and is added to."""
    cases = []
    for (*nodes, channels), samples in SIZES:
        coords = make_coords(samples)
        upstream, gradient = upstream_and_gradient(nodes, channels, coords)
        cases.append(
            Case(
                name=f"{nodes} x {channels}, {samples} samples",
                launcher="launch_add_voxel_gradient",
                arguments={
                    **shape_of(nodes, channels),
                    "coords": single(coords),
                    "samples": samples,
                    "grad": single(upstream),
                    "gradient": np.full((*nodes, channels), 0.5, dtype=np.float32),
                    "touched": np.zeros_like(runs_with(gradient)),
                },
                expected={"gradient": gradient.numpy() + 0.5, "touched": runs_with(gradient)},
                tolerance=1e-5,
                shares_addresses=samples > 256,
                elements=samples if samples == 300 else 0,
                floor=(60, 0),
            )
        )
    return cases


def cells_of(nodes: list[int], coords: Tensor) -> np.ndarray:
    """The cell of each sample, found as the kernel's contract says."""
    cells = np.zeros(len(coords), dtype=np.int64)
    for axis, n in enumerate(nodes):
        node = np.floor(((coords[:, axis] + 1) * 0.5 * (n - 1)).clamp(-1, n).numpy()).astype(np.int64)
        cells = cells * (n + 2) + node + 1
    return cells


def cell_cases() -> list[Case]:
    """Cells inside and around the box."""
    cases = []
    for (*nodes, _), samples in SIZES:
        coords = make_coords(samples)
        cases.append(
            Case(
                name=f"{nodes}, {samples} samples",
                launcher="launch_voxel_cells",
                arguments={
                    **shape_of(nodes),
                    "coords": single(coords),
                    "samples": samples,
                    "cells": np.full(samples, -1),
                },
                expected={"cells": cells_of(nodes, coords)},
                elements=samples if samples == 300 else 0,
                floor=(12, 8),
            )
        )
    return cases


def gather_cases() -> list[Case]:
    """The same gradients in a fixed order."""
    cases = []
    for (*nodes, channels), samples in (*SIZES, RUN_OF_TWO_BLOCKS):
        coords = make_coords(samples)
        upstream, gradient = upstream_and_gradient(nodes, channels, coords)
        cells = cells_of(nodes, coords)
        n_cells = int(np.prod([n + 2 for n in nodes]))
        is_noted = channels > 1
        order = np.argsort(cells, kind="stable")
        cases.append(
            Case(
                name=f"{nodes} x {channels}, {samples} samples",
                launcher="launch_gather_voxel_gradient",
                arguments={
                    **shape_of(nodes, channels),
                    "coords": single(coords),
                    "grad": single(upstream),
                    "order": order,
                    "starts": np.searchsorted(cells[order], np.arange(n_cells + 1)),
                    "gradient": np.full((*nodes, channels), 0.5, dtype=np.float32),
                    "touched": np.zeros_like(runs_with(gradient)) if is_noted else None,
                },
                expected={
                    "gradient": gradient.numpy() + 0.5,
                    **({"touched": runs_with(gradient)} if is_noted else {}),
                },
                tolerance=1e-5,
                shares_addresses=samples == RUN_OF_TWO_BLOCKS[1],
                elements=samples if samples == 300 else 0,
                floor=(68 + gradient.numel() * 4 / 300, gradient.numel() * 4 / 300),
            )
        )
    return cases


KERNELS = [
    Kernel(
        name="voxel_features",
        source="voxels.cu",
        what="Trilinear samples of a dense grid. One thread owns four neighbouring channels of a sample (one where "
        "channels or addresses do not come in fours) and reads the eight corners around it; neighbouring threads read "
        "neighbouring channels.",
        entries=("voxel_features<4>", "voxel_features<1>"),
        cases=forward_cases,
        mutations=(
            Mutation(
                "far corner of y forgotten",
                "corner & 2 ? taps.axis[1].far_weight",
                "corner & 2 ? taps.axis[1].near_weight",
                "value",
            ),
            Mutation(
                "strides of x and y swapped",
                "line(taps.axis[0].near * shape.nodes[1] +",
                "line(taps.axis[0].near * shape.nodes[0] +",
                "value",
            ),
            Mutation(
                "one corner left out",
                "corner = 0; corner < kCorners; ++corner) {\n      const Chunk<kWidth> value",
                "corner = 1; corner < kCorners; ++corner) {\n      const Chunk<kWidth> value",
                "value",
            ),
            Mutation(
                "one channel too far",
                "cell.in_line(corner) + channel);",
                "cell.in_line(corner) + channel + 1);",
                "bounds",
            ),
        ),
    ),
    Kernel(
        name="voxel_features_backward",
        source="voxels.cu",
        what="The grid's gradient, added to what is there with atomics, four channels in one request on sm_90. Chunks "
        "of which the upstream gradient is zero, as most of a density's are, stop after reading it. The others note in "
        "flags which runs of 64 floats of a line now have a gradient.",
        entries=("add_voxel_gradient<4>", "add_voxel_gradient<1>"),
        cases=atomic_cases,
        mutations=(
            Mutation(
                "zero in one channel stops four",
                "is_wanted |= upstream.at[k] != 0.0f",
                "is_wanted = upstream.at[k] > 0.0f",
                "value",
            ),
            Mutation("corners unweighted", "product(upstream, weight)", "product(upstream, 1.0f)", "value"),
            Mutation(
                "channel forgotten",
                "in_line = cell.in_line(corner) + channel;",
                "in_line = cell.in_line(corner);",
                "value",
            ),
            Mutation("runs not noted", "      touch(touched, shape, of_corner, in_line);\n", "", "value"),
            Mutation("run of the line's begin", "+ in_line / kVoxelRun, uint8_t{1}", ", uint8_t{1}", "value"),
            Mutation("no atomics", "atomicAdd(to + i, chunk.at[i]);", "to[i] += chunk.at[i];", "race", file="grid.cuh"),
        ),
    ),
    Kernel(
        name="voxel_cells",
        source="voxels.cu",
        what="For the backward pass in a fixed order: the cell of each sample, one thread a sample.",
        entries=("voxel_cells",),
        cases=cell_cases,
        mutations=(
            Mutation("no cell before the first", "taps.axis[axis].node + 1;", "taps.axis[axis].near + 1;", "value"),
            Mutation(
                "one cell beyond forgotten", "cell * (shape.nodes[axis] + 2)", "cell * (shape.nodes[axis] + 1)", "value"
            ),
            Mutation("one sample too many", "s < samples; s +=", "s <= samples; s +=", "bounds"),
        ),
    ),
    Kernel(
        name="voxel_features_backward_ordered",
        source="voxels.cu",
        what="The grid's gradient in a fixed order: one thread owns four channels of a node and visits the samples of "
        "the eight cells around it, sorted beforehand.",
        entries=("gather_voxel_gradient<4>", "gather_voxel_gradient<1>"),
        cases=gather_cases,
        mutations=(
            Mutation(
                "near and far cells swapped along z", "z + (corner & 1 ? 0 : 1)", "z + (corner & 1 ? 1 : 0)", "value"
            ),
            Mutation(
                "samples in the wrong order",
                "const int64_t sample = order[place];",
                "const int64_t sample = place;",
                "value",
            ),
            Mutation(
                "runs not noted",
                "touch(touched, shape, node / shape.nodes[2], z * shape.channels + channel);",
                "",
                "value",
            ),
            Mutation(
                "what is there is lost", "sum.at[k] += before.at[k];", "sum.at[k] += 0.0f * before.at[k];", "value"
            ),
            Mutation(
                "a sample of the next cell too",
                "place < starts[cell + 1]; ++place",
                "place <= starts[cell + 1]; ++place",
                "value",
            ),
        ),
    ),
]
