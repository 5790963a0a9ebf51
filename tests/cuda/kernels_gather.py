"""The grids' gradients in a fixed order: cases against float64 autograd of the reference, and planted defects."""

from __future__ import annotations

import numpy as np
import torch
from grid_samples import CP_SHAPES, SHAPES, TOLERANCE, Sampled, each_case
from simulator import Case, Kernel, Mutation, single, unwritten
from torch import Tensor

from nerf_ssim.ops.reference import grids as reference


def by_cell(sampled: Sampled, axis_v: int, axis_u: int = -1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The samples' cells, the samples in the order of their cells and where each cell's samples start in it."""

    def cell_along(axis: int) -> tuple[Tensor, int]:
        nodes = sampled.shape.nodes[axis]
        position = (sampled.coords[:, axis] + 1) * (0.5 * (nodes - 1))
        return position.nan_to_num(-1.0).clamp(-1, nodes).floor().long() + 1, nodes + 2

    cells, count = cell_along(axis_v)
    if axis_u >= 0:
        columns, n_columns = cell_along(axis_u)
        cells, count = cells * n_columns + columns, count * n_columns
    ordered = cells.sort(stable=True)
    starts = torch.searchsorted(ordered.values, torch.arange(count + 1))
    return cells.numpy(), ordered.indices.numpy(), starts.numpy()


def cell_cases() -> list[Case]:
    """Planes and lines of every shape."""
    cases = []
    for sampled, name in each_case("vm_density"):
        for axis_v, axis_u in ((1, 0), (2, 1), (0, -1)):
            nodes = sampled.shape.nodes
            cells, _, _ = by_cell(sampled, axis_v, axis_u)
            cases.append(
                Case(
                    name=f"{name}, axes {axis_v}, {axis_u}",
                    launcher="launch_grid_cells",
                    arguments={
                        "coords": sampled.coords.numpy(),
                        "samples": sampled.shape.samples,
                        "axis_v": axis_v,
                        "nodes_v": nodes[axis_v],
                        "axis_u": axis_u,
                        "nodes_u": 1 if axis_u < 0 else nodes[axis_u],
                        "cells": np.full(sampled.shape.samples, -1),
                    },
                    expected={"cells": cells},
                    elements=sampled.shape.samples if sampled.shape is SHAPES[0] and axis_u == 0 else 0,
                    floor=(8, 8),
                )
            )
    return cases


def gather_case(
    sampled: Sampled,
    part: int,
    name: str,
    launcher: str,
    which: dict[str, int],
    axes: tuple[int, ...],
    first_channel: int,
) -> Case:
    """The gradient of one part, gathered from the samples by cell. `which`: the launcher's name of the part."""
    width = sampled.out.shape[1] if sampled.is_features else 0
    _, order, starts = by_cell(sampled, *axes)
    upstream, samples = single(sampled.upstream).reshape(-1), sampled.shape.samples
    return Case(
        name=name,
        launcher=launcher,
        arguments={
            "grid": sampled.grid(),
            **which,
            "coords": sampled.coords.numpy(),
            "grad": upstream[first_channel:].copy() if sampled.is_features else upstream,
            "grad_stride": width,
            "order": order,
            "starts": starts,
            "gradient": unwritten(*sampled.gradients[part].shape),
        },
        expected={"gradient": sampled.gradients[part]},
        tolerance=TOLERANCE,
        elements=samples if sampled.shape in (SHAPES[0], CP_SHAPES[0]) and not sampled.is_features else 0,
        floor=(24, sampled.gradients[part].size * 4 / max(samples, 1)),  # a sample's coordinates, gradient and number
    )


def vm_gather_cases(part: str) -> list[Case]:
    """Density and features of every shape, the three orientations in turn."""
    cases = []
    for op in ("vm_density", "vm_features"):
        for turn, (sampled, name) in enumerate(each_case(op)):
            m = turn % 3
            (u, v), w = reference.PLANE_AXES[m], reference.LINE_AXES[m]
            first_channel = sum(sampled.shape.channels[:m])
            number, axes = (m, (v, u)) if part == "plane" else (3 + m, (w,))
            launcher, which = f"launch_gather_vm_{part}", {"orientation": m}
            cases.append(gather_case(sampled, number, f"{op}, {name}", launcher, which, axes, first_channel))
    return cases


def cp_gather_cases() -> list[Case]:
    """Density and features of every shape, the three lines in turn."""
    cases = []
    for op in ("cp_density", "cp_features"):
        for turn, (sampled, name) in enumerate(each_case(op)):
            axis = turn % 3
            launcher, which = "launch_gather_cp_line", {"axis": axis}
            cases.append(gather_case(sampled, axis, f"{op}, {name}", launcher, which, (axis,), 0))
    return cases


def entries(factor: str) -> tuple[str, ...]:
    """The instances of the gathering kernel with one of its factors."""
    instances = ((width, features) for width in (4, 1) for features in ("false", "true"))
    return tuple(f"gather_node<{width}, {features}, nerf_ssim::{factor}>" for width, features in instances)


KERNELS = [
    Kernel(
        name="grid_cells",
        source="gather.cu",
        what="For the deterministic backward passes: the cell of every sample along one or two axes, by which they "
        "are then sorted.",
        entries=("grid_cells",),
        cases=cell_cases,
        mutations=(
            Mutation("no room for samples before the first node", "cell * (nodes_u + 2) +", "cell * (nodes_u + 1) +",
                     "value"),
            Mutation("one sample too many", "if (s >= samples) return;", "if (s > samples) return;", "bounds"),
            Mutation("nodes of the other axis", "coords[3 * s + axis_v], nodes_v)", "coords[3 * s + axis_v], nodes_u)",
                     "value"),
        ),
    ),
    Kernel(
        name="gather_vm_plane",
        source="gather.cu",
        what="A VM plane's gradient in a fixed order, for torch.use_deterministic_algorithms: a warp owns a node and "
        "visits the samples of the four cells around it, its eight groups of four lanes in turn; no atomics. Each "
        "sample is visited by four nodes.",
        entries=entries("VmLineFactor"),
        cases=lambda: vm_gather_cases("plane"),
        mutations=(
            Mutation("cells one off", "(nodes.n_u + 2) + u + is_near_u", "(nodes.n_u + 2) + u", "value"),
            Mutation("near and far swapped", "is_near_u ? tap_u.near_weight : tap_u.far_weight",
                     "is_near_u ? tap_u.far_weight : tap_u.near_weight", "value"),
            Mutation("a lane beyond the channels leaves before a shuffle", "    // 3. the groups\n",
                     "    if (k >= nodes.channels) return;\n", "named"),
        ),
    ),
    Kernel(
        name="gather_vm_line",
        source="gather.cu",
        what="A VM line's gradient likewise, from two cells a node.",
        entries=entries("VmPlaneFactor"),
        cases=lambda: vm_gather_cases("line"),
        mutations=(
            Mutation("only the cell before the node", "(is_plane ? 4 : 2)", "(is_plane ? 4 : 1)", "value"),
            Mutation("groups not added up", "offset = kGroup; offset < kWarpLanes;", "offset = kGroup; offset < 16;",
                     "value"),
            Mutation("samples beyond the cell", "nodes.starts[cell + 1];", "nodes.starts[cell + 1] + 1;", "value"),
        ),
    ),
    Kernel(
        name="gather_cp_line",
        source="gather.cu",
        what="A CP line's gradient likewise: what multiplies it are the two other lines.",
        entries=entries("CpFactor"),
        cases=cp_gather_cases,
        mutations=(
            Mutation("one line for both", "second = (own + 2) % 3", "second = (own + 1) % 3", "value"),
            Mutation("own line among the others", "first = (own + 1) % 3,", "first = own,", "value"),
            Mutation("every group writes", "if (group == 0 && k < nodes.channels) store",
                     "if (k < nodes.channels) store", "race"),
        ),
    ),
]  # fmt: skip
