"""Total variation of voxel grids and their update: cases against the reference in float64, and planted defects."""

from __future__ import annotations

import math

import numpy as np
import torch
from kernels_voxels import runs_with
from simulator import Case, Kernel, Mutation

from nerf_ssim.ops.reference import voxel_adam as reference

LR, BETA1, BETA2, EPS, STEP = 0.1, 0.9, 0.99, 1e-8, 7
WEIGHTS = (0.3, 0.02, 0.1)
IDLE = (2, 5, 64, 4)  # without any gradient, as most of a grid is in the sparse stage
FLAG_BYTES = 1 / 64  # of an element, in the flags of its run
SHAPES = [(4, 3, 5, 12), (3, 4, 40, 1), (1, 6, 2, 3), (2, 1, 1, 4), (1, 1, 1, 1), (3, 0, 4, 1)]


def make_arrays(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Values, gradient (zero for two thirds, whole runs of it too) and moments."""
    random = np.random.default_rng(math.prod(shape))
    param, grad, first = (random.standard_normal(shape).astype(np.float32) for _ in range(3))
    grad[random.random(shape) < 0.6] = 0
    grad.reshape(-1)[: grad.size // 4] = 0
    return [param, grad, first, random.random(shape).astype(np.float32)]


def shape_of(shape: tuple[int, ...]) -> dict:
    """A grid's shape as the launchers take it, of anything else that of a line."""
    nodes = shape if len(shape) == 4 else (1, math.prod(shape), 1, 1)
    return {"nodes": nodes[:3], "channels": nodes[3]}


def tv_cases() -> list[Case]:
    """Every shape, everywhere and where there is a gradient."""
    cases = []
    for shape in SHAPES:
        for is_dense in (True, False):
            grid, grad, *_ = make_arrays(shape)
            touched = None if shape is SHAPES[0] else runs_with(torch.from_numpy(grad))
            if shape is SHAPES[1] and not is_dense:  # the usual state of the sparse stage
                grad[:], touched[:] = 0, 0
            expected = torch.from_numpy(grad).double()
            reference.add_voxel_tv_gradient(torch.from_numpy(grid).double(), expected, WEIGHTS, is_dense)
            cases.append(
                Case(
                    name=f"{shape}, {'dense' if is_dense else 'sparse'}",
                    launcher="launch_add_voxel_tv",
                    arguments={
                        "tv": {"weights": WEIGHTS, "is_dense": is_dense},
                        "shape": {"nodes": shape[:3], "channels": shape[3]},
                        "grid": grid,
                        "grad": grad,
                        "touched": touched,
                    },
                    expected={"grad": expected.numpy()},
                    elements=grad.size if shape in (SHAPES[0], SHAPES[1]) else 0,
                    floor=(8, 4) if is_dense else (FLAG_BYTES, 0),
                )
            )
    return cases


def update_cases() -> list[Case]:
    """Masked and not, with rates and without; in fours and single elements."""
    cases = []
    for shape, skip_zero, has_rates, is_noted in [
        ((4, 3, 5, 12), True, False, True), ((4, 3, 5, 12), False, True, False), ((1031,), True, True, False),
        ((517,), False, False, False), ((3, 4, 70, 1), True, True, True), ((2, 5, 64, 4), True, False, True),
        ((1,), True, False, False), ((0,), True, False, False),
    ]:  # fmt: skip
        arrays = make_arrays(shape)
        if shape == IDLE:
            arrays[1][:] = 0
        rates = np.random.default_rng(1).random(shape).astype(np.float32) if has_rates else None
        exact = [torch.from_numpy(array).double() for array in arrays]
        reference.voxel_adam_step(
            *exact, lr=LR, beta1=BETA1, beta2=BETA2, eps=EPS, step=STEP, skip_zero=skip_zero, tv_weights=None,
            tv_dense=True, rates=None if rates is None else torch.from_numpy(rates).double(),
        )  # fmt: skip
        names = ("param", "grad", "exp_avg", "exp_avg_sq")
        touched = runs_with(torch.from_numpy(arrays[1])) if is_noted else None
        cases.append(
            Case(
                name=f"{shape}, skips zero {skip_zero}, rates {has_rates}, runs noted {is_noted}",
                launcher="launch_voxel_adam",
                arguments={
                    "step": {
                        "beta1": BETA1,
                        "beta2": BETA2,
                        "first_weight": 1 - BETA1,
                        "second_weight": 1 - BETA2,
                        "root_correction": 1.0,
                        "eps": EPS,
                        "step_size": LR * math.sqrt(1 - BETA2**STEP) / (1 - BETA1**STEP),
                    },
                    "skip_zero": skip_zero,
                    "shape": shape_of(shape),
                    "state": {**dict(zip(names, arrays, strict=True)), "rates": rates, "touched": touched},
                },
                expected={"state": {name: tensor.numpy() for name, tensor in zip(names, exact, strict=True)}},
                elements=math.prod(shape) if shape in ((517,), IDLE) else 0,
                floor=(FLAG_BYTES, 0) if shape == IDLE else (16, 16),
            )
        )
    return cases


KERNELS = [
    Kernel(
        name="voxel_tv",
        source="voxel_adam.cu",
        what="Total variation as a gradient. One thread owns four neighbouring channels of a node (one where they do "
        "not come in fours), reads its up to six neighbours and adds to the gradient; in the sparse form only where "
        "there is one, and what flags say to be zero is not read.",
        entries=("add_voxel_tv<4>", "add_voxel_tv<1>"),
        cases=tv_cases,
        mutations=(
            Mutation(
                "no neighbour is missing at the far end",
                "slab, x + 1 < runs.nodes_x);",
                "slab, x + 1 <= runs.nodes_x);",
                "bounds",
            ),
            Mutation("not clamped from above", "difference > 1.0f ? 1.0f : difference", "difference", "value"),
            Mutation("weights of x everywhere", "tv.weights[axis] * along", "tv.weights[0] * along", "value"),
            Mutation(
                "flags ignored",
                "const bool may_be_touched = !touched || touched[place.run];",
                "const bool may_be_touched = false;",
                "value",
            ),
            Mutation(
                "sparse form adds to all four", "if (tv.is_dense || g.at[k] != 0.0f) g.at[k] +=", "g.at[k] +=", "value"
            ),
            Mutation(
                "a neighbour of the next line",
                "place.in_line + runs.channels < runs.line",
                "place.in_line + runs.channels <= runs.line",
                "value",
            ),
        ),
    ),
    Kernel(
        name="voxel_adam",
        source="voxel_adam.cu",
        what="DVGO's Adam in place, which leaves the gradient cleared. One thread owns four neighbouring elements; "
        "where none has a gradient it reads only that, and nothing but a flag of a run of 64 without one.",
        entries=("voxel_adam<4>", "voxel_adam<1>"),
        cases=update_cases,
        mutations=(
            Mutation("mask forgotten", "    if (skip_zero && g.at[k] == 0.0f) continue;\n", "", "value"),
            Mutation("gradient not cleared", "  store(state.grad + first, Chunk<kWidth>{});\n", "", "value"),
            Mutation("rates of the first for all four", "state.rates[first + k]", "state.rates[first]", "value"),
            Mutation("flags of the next run", "!state.touched[place.run]", "!state.touched[place.run + 1]", "bounds"),
            Mutation("runs beyond a line's end", "run < runs.all && in_line < runs.line", "run < runs.all", "bounds"),
        ),
    ),
]
