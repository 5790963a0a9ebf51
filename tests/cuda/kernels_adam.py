"""Adam's kernel: cases against the update in float64, and planted defects."""

from __future__ import annotations

import math

import numpy as np
from simulator import Case, Kernel, Mutation

LR, BETA1, BETA2, EPS, STEP = 0.02, 0.9, 0.99, 1e-8, 7


FACTORS = {  # the fields of AdamStep, as cuda_ext/include/adam_step.h works them out
    "beta1": BETA1,
    "beta2": BETA2,
    "first_weight": 1 - BETA1,
    "second_weight": 1 - BETA2,
    "root_correction": math.sqrt(1 - BETA2**STEP),
    "eps": EPS,
    "step_size": LR / (1 - BETA1**STEP),
}


def case(name: str, count: int, elements: int = 0) -> Case:
    """One step of `count` parameters."""
    random = np.random.default_rng(count)
    param, grad, first = (random.standard_normal(count).astype(np.float32) for _ in range(3))
    second = random.random(count).astype(np.float32)
    p, g, m, v = (array.astype(np.float64) for array in (param, grad, first, second))
    new_m, new_v = BETA1 * m + (1 - BETA1) * g, BETA2 * v + (1 - BETA2) * g * g
    moved = p - FACTORS["step_size"] * new_m / (np.sqrt(new_v) / FACTORS["root_correction"] + EPS)
    state = {"param": param, "grad": grad, "exp_avg": first, "exp_avg_sq": second, "count": count}
    return Case(
        name=name,
        launcher="launch_adam_step",
        arguments={"step": FACTORS, "state": state},
        expected={"state": {"param": moved, "exp_avg": new_m, "exp_avg_sq": new_v}},
        elements=elements,
        floor=(16, 12) if elements else (0, 0),
    )


def cases() -> list[Case]:
    """Fours and single elements, one, none."""
    return [case("fours", 1032, elements=1032), case("odd count", 517), case("one", 1), case("none", 0)]


KERNELS = [
    Kernel(
        name="adam_step",
        source="adam.cu",
        what="Adam's update in place. One thread owns four neighbouring elements (one where the count or an address "
        "is not a multiple of four): it reads parameter, gradient and both moments once and writes three of them "
        "once.",
        entries=("adam_step<4>", "adam_step<1>"),
        cases=cases,
        mutations=(
            Mutation("one chunk too many", "chunk >= chunks", "chunk > chunks", "bounds"),
            Mutation("root not corrected", "sqrtf(v.at[i]) / step.root_correction", "sqrtf(v.at[i])", "value"),
            Mutation("second moment not stored", "  store(state.exp_avg_sq + first, v);\n", "", "value"),
            Mutation("only the first of four moves", "i < kWidth; ++i) {", "i < 1; ++i) {", "value"),
        ),
    ),
]
