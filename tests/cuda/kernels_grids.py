"""The VM and CP grids: cases against float64 autograd of the reference, and planted defects."""

from __future__ import annotations

import numpy as np
from grid_samples import CP_SHAPES, SHAPES, TOLERANCE, Sampled, by_part, each_case
from simulator import Case, Kernel, Mutation, single, unwritten


def arguments_of(sampled: Sampled) -> dict:
    """What the forward pass begins with."""
    return {"grid": sampled.grid(), "coords": sampled.coords.numpy(), "samples": sampled.shape.samples}


def forward_cases(op: str) -> list[Case]:
    """Every shape."""
    return [
        Case(
            name=name,
            launcher=f"launch_{op[:2]}",
            arguments={
                **arguments_of(sampled),
                "is_features": sampled.is_features,
                "out": unwritten(*sampled.out.shape),
            },
            expected={"out": sampled.out.detach().numpy()},
            tolerance=TOLERANCE,
            elements=sampled.shape.samples if sampled.shape in (SHAPES[0], CP_SHAPES[0]) else 0,
            floor=(12, 4 * sampled.out[:1].numel()),
        )
        for sampled, name in each_case(op)
    ]


def backward_cases(op: str) -> list[Case]:
    """Every shape; crowded samples of several blocks add to the same nodes."""
    cases = []
    for sampled, name in each_case(op):
        cases.append(
            Case(
                name=name,
                launcher=f"launch_{op[:2]}_backward",
                arguments={
                    **arguments_of(sampled),
                    "grad": single(sampled.upstream),
                    "is_features": sampled.is_features,
                    "gradient": by_part([np.zeros(gradient.shape, np.float32) for gradient in sampled.gradients]),
                },
                expected={"gradient": by_part(sampled.gradients)},
                tolerance=TOLERANCE,
                shares_addresses=sampled.shape.is_crowded,
                elements=sampled.shape.samples if sampled.shape in (SHAPES[0], CP_SHAPES[0]) else 0,
                floor=(12 + 4 * sampled.out[:1].numel(), 0),
            )
        )
    return cases


DROPPED_ATOMIC = Mutation(
    "dropped atomic",
    "atomicAdd(gradient + rows.first + k, addends.chunk.at[half] * weights.first);",
    "gradient[rows.first + k] += addends.chunk.at[half] * weights.first;",
    "race",
    "grid.cuh",
)
OUTSIDE_COUNTS = Mutation("points outside count", "node < last ? fraction : 0.0f", "fraction", "value", "grid.cuh")
FAR_ROW = Mutation(
    "far row one node off",
    "(v.far - v.near) * nodes_u * channels",
    "(v.far - v.near) * (nodes_u - 1) * channels",
    "value",
    "grid.cuh",
)

KERNELS = [
    Kernel(
        name="vm_density",
        source="vm.cu",
        what="Density feature of the VM grid. Four lanes own a sample and take its channels four at a time, so that "
        "they read whole runs of a channel-last node in 16-byte loads: four nodes of a plane and two of a line for "
        "each orientation. Two shuffles add up the lanes.",
        entries=("vm_density<4>", "vm_density<1>"),
        cases=lambda: forward_cases("vm_density"),
        mutations=(
            OUTSIDE_COUNTS,
            FAR_ROW,
            Mutation("lanes not added up", "offset < kGroup; offset *= 2)", "offset < 2; offset *= 2)", "value"),
            Mutation(
                "lanes beyond the last sample leave before a shuffle",
                "  // 2. the lane's channels",
                "  if (sample >= samples) return;\n  // 2. the lane's channels",
                "named",
            ),
        ),
    ),
    Kernel(
        name="vm_features",
        source="vm.cu",
        what="Appearance features of the VM grid: the same, each product stored, 64 neighbouring bytes by the four "
        "lanes.",
        entries=("vm_features<4>", "vm_features<1>"),
        cases=lambda: forward_cases("vm_features"),
        mutations=(
            Mutation("orientations overlap", "row + second, unused", "row, unused", "value"),
            Mutation("one sample too many", "if (sample >= samples) return;", "if (sample > samples) return;",
                     "bounds"),
            Mutation("wrong stride between samples", "row = out + sample * width;", "row = out + sample * third;",
                     "value"),
        ),
    ),
    Kernel(
        name="vm_density_backward",
        source="vm.cu",
        what="Its gradient, a row of blocks for each orientation. The same four lanes add to the nodes with atomics, "
        "four floats in one request on sm_90 and newer. Lines are short and every sample adds to them: neighbouring "
        "samples between the same nodes, as those of a ray often are, first add up by shuffles, which saves up to "
        "seven of eight of those atomics.",
        entries=("vm_backward<4, false>", "vm_backward<1, false>"),
        cases=lambda: backward_cases("vm_density"),
        mutations=(
            DROPPED_ATOMIC,
            Mutation("lanes beyond the last sample add too", "is_sample ? cell.near", "true ? cell.near", "value"),
            Mutation("every sample of a run adds its sum", "is_sample && segment.is_head ?", "is_sample ?", "value",
                     "grid.cuh"),
            Mutation("lanes exchange the wrong halves", "addends.chunk.at[2 + half]", "addends.chunk.at[3 - half]",
                     "value", "grid.cuh"),
            Mutation("neighbours between other nodes add up too", "segment_of<kGroup>(is_sample ? w.node : -2)",
                     "segment_of<kGroup>(-2)", "value"),
        ),
    ),
    Kernel(
        name="vm_features_backward",
        source="vm.cu",
        what="The same with an upstream gradient for every channel.",
        entries=("vm_backward<4, true>", "vm_backward<1, true>"),
        cases=lambda: backward_cases("vm_features"),
        mutations=(
            DROPPED_ATOMIC,
            Mutation("gradients of the first orientation serve the second", "row + second, gradient", "row, gradient",
                     "value"),
            Mutation("wrong stride of the upstream gradient", "third + grid.channels[2] : 1)", "third : 1)", "value"),
            Mutation("the first sample's weight serves both", "* weights.second", "* weights.first", "value",
                     "grid.cuh"),
        ),
    ),
    Kernel(
        name="cp_forward",
        source="cp.cu",
        what="Density and appearance features of the CP grid: four lanes own a sample and multiply the three lines, "
        "four channels at a time.",
        entries=("cp_forward<4, false>", "cp_forward<1, false>", "cp_forward<4, true>", "cp_forward<1, true>"),
        cases=lambda: forward_cases("cp_density") + forward_cases("cp_features"),
        mutations=(
            Mutation("a node beyond the last", "min(node + 1, last),", "node + 1,", "bounds", "grid.cuh"),
            Mutation("one line taken twice", "cp_line<kWidth>(grid, 2, z, k));", "cp_line<kWidth>(grid, 1, y, k));",
                     "value"),
            Mutation("lanes not added up", "offset < kGroup; offset *= 2)", "offset < 2; offset *= 2)", "value"),
        ),
    ),
    Kernel(
        name="cp_backward",
        source="cp.cu",
        what="Their gradient: every addition is to a line, so samples between the same nodes add up by shuffles "
        "first, for each axis on its own; the rest are atomics as in vm_density_backward.",
        entries=("cp_backward<4, false>", "cp_backward<1, false>", "cp_backward<4, true>", "cp_backward<1, true>"),
        cases=lambda: backward_cases("cp_density") + backward_cases("cp_features"),
        mutations=(
            DROPPED_ATOMIC,
            Mutation("product rule", "to_z = product(product(upstream, at_x), at_y);",
                     "to_z = product(product(upstream, at_x), at_z);", "value"),
            Mutation("runs of x serve y", "to_y, along_y, is_sample", "to_y, along_x, is_sample", "value"),
        ),
    ),
]  # fmt: skip
