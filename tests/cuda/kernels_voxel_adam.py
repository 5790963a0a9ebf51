"""Total variation of voxel grids and their update: cases against the reference in float64, and planted defects."""

from __future__ import annotations

import math

import numpy as np
import torch
from simulator import Case, Kernel, Mutation

from nerf_ssim.ops.reference import voxel_adam as reference

LR, BETA1, BETA2, EPS, STEP = 0.1, 0.9, 0.99, 1e-8, 7
WEIGHTS = (0.3, 0.02, 0.1)
SHAPES = [(4, 3, 5, 12), (3, 4, 40, 1), (1, 6, 2, 3), (2, 1, 1, 4), (1, 1, 1, 1), (3, 0, 4, 1)]


def make_arrays(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Values, gradient (zero for two thirds, whole runs of it too) and moments."""
    random = np.random.default_rng(math.prod(shape))
    param, grad, first = (random.standard_normal(shape).astype(np.float32) for _ in range(3))
    grad[random.random(shape) < 0.6] = 0
    grad.reshape(-1)[: grad.size // 4] = 0
    return [param, grad, first, random.random(shape).astype(np.float32)]


def tv_cases() -> list[Case]:
    """Every shape, everywhere and where there is a gradient."""
    cases = []
    for shape in SHAPES:
        for is_dense in (True, False):
            grid, grad, *_ = make_arrays(shape)
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
                    },
                    expected={"grad": expected.numpy()},
                    elements=grad.size if is_dense and shape is SHAPES[0] else 0,
                    floor=(8, 4),
                )
            )
    return cases


def update_cases() -> list[Case]:
    """Masked and not, with rates and without; in fours and single elements."""
    cases = []
    for shape, skip_zero, has_rates in [
        ((4, 3, 5, 12), True, False), ((4, 3, 5, 12), False, True), ((1031,), True, True), ((517,), False, False),
        ((1,), True, False), ((0,), True, False),
    ]:  # fmt: skip
        arrays = make_arrays(shape)
        rates = np.random.default_rng(1).random(shape).astype(np.float32) if has_rates else None
        exact = [torch.from_numpy(array).double() for array in arrays]
        reference.voxel_adam_step(
            *exact, lr=LR, beta1=BETA1, beta2=BETA2, eps=EPS, step=STEP, skip_zero=skip_zero, tv_weights=None,
            tv_dense=True, rates=None if rates is None else torch.from_numpy(rates).double(),
        )  # fmt: skip
        names = ("param", "grad", "exp_avg", "exp_avg_sq")
        cases.append(
            Case(
                name=f"{shape}, skips zero {skip_zero}, rates {has_rates}",
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
                    "count": math.prod(shape),
                    "state": {**dict(zip(names, arrays, strict=True)), "rates": rates, "touched": None},
                },
                expected={"state": {name: tensor.numpy() for name, tensor in zip(names, exact, strict=True)}},
                elements=517 if shape == (517,) else 0,
                floor=(16, 16),
            )
        )
    return cases


KERNELS = [
    Kernel(
        name="voxel_tv",
        source="voxel_adam.cu",
        what="Total variation as a gradient. One thread owns four neighbouring channels of a node (one where they do "
        "not come in fours), reads its up to six neighbours and adds to the gradient; in the sparse form only where "
        "there is one.",
        entries=("add_voxel_tv<4>", "add_voxel_tv<1>"),
        cases=tv_cases,
        mutations=(
            Mutation(
                "no neighbour is missing at the far end",
                "if (place[axis] + 1 < shape.nodes[axis])",
                "if (place[axis] + 1 <= shape.nodes[axis])",
                "bounds",
            ),
            Mutation("not clamped from above", "difference > 1.0f ? 1.0f : difference", "difference", "value"),
            Mutation("weights of x everywhere", "tv.weights[axis] * along", "tv.weights[0] * along", "value"),
            Mutation(
                "sparse form adds to all four", "if (tv.is_dense || g.at[k] != 0.0f) g.at[k] +=", "g.at[k] +=", "value"
            ),
            Mutation(
                "y and z swapped",
                "nodes_y, node % nodes_z}",
                "nodes_y, node / nodes_z % nodes_y}",
                "value",
            ),
        ),
    ),
    Kernel(
        name="voxel_adam",
        source="voxel_adam.cu",
        what="DVGO's Adam in place, which leaves the gradient cleared. One thread owns four neighbouring elements; "
        "where none has a gradient it reads only that.",
        entries=("voxel_adam<4>", "voxel_adam<1>"),
        cases=update_cases,
        mutations=(
            Mutation("mask forgotten", "      if (skip_zero && g.at[k] == 0.0f) continue;\n", "", "value"),
            Mutation("gradient not cleared", "    store(state.grad + first, Chunk<kWidth>{});\n", "", "value"),
            Mutation("rates of the first for all four", "state.rates[first + k]", "state.rates[first]", "value"),
            Mutation("one chunk too many", "i < chunks; i +=", "i <= chunks; i +=", "bounds"),
        ),
    ),
]
