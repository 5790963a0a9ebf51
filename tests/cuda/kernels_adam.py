"""Adam's kernel: cases against the update in float64, and planted defects."""

from __future__ import annotations

import math

import numpy as np
from simulator import Case, Kernel, Mutation

LR, BETA1, BETA2, EPS, STEP = 0.02, 0.9, 0.99, 1e-8, 7


def factors(is_masked: bool) -> dict[str, float]:
    """The launcher's seven factors, as cuda_ext/include/adam_step.h works them out."""
    root_correction = math.sqrt(1 - BETA2**STEP)
    step_size = LR / (1 - BETA1**STEP)
    return {
        "beta1": BETA1,
        "beta2": BETA2,
        "first_weight": 1 - BETA1,
        "second_weight": 1 - BETA2,
        "root_correction": 1.0 if is_masked else root_correction,
        "eps": EPS,
        "step_size": step_size * root_correction if is_masked else step_size,
    }


def case(name: str, count: int, is_masked: bool, elements: int = 0) -> Case:
    """One step of `count` parameters; with `is_masked`, most gradients are zero, whole runs of them too."""
    random = np.random.default_rng(count)
    param, grad, first = (random.standard_normal(count).astype(np.float32) for _ in range(3))
    second = random.random(count).astype(np.float32)
    if is_masked:
        grad[random.random(count) < 0.7] = 0
        grad[: count // 4] = 0
    p, g, m, v = (array.astype(np.float64) for array in (param, grad, first, second))
    is_touched = (g != 0) | (not is_masked)
    new_m, new_v = BETA1 * m + (1 - BETA1) * g, BETA2 * v + (1 - BETA2) * g * g
    numbers = factors(is_masked)
    moved = p - numbers["step_size"] * new_m / (np.sqrt(new_v) / numbers["root_correction"] + EPS)
    return Case(
        name=name,
        launcher="launch_adam_step",
        arguments={
            "param": param,
            "grad": grad,
            "exp_avg": first,
            "exp_avg_sq": second,
            "count": count,
            "is_masked": is_masked,
            **numbers,
        },
        expected={
            "param": np.where(is_touched, moved, p),
            "exp_avg": np.where(is_touched, new_m, m),
            "exp_avg_sq": np.where(is_touched, new_v, v),
        },
        elements=elements,
        floor=(4 + 12 * is_touched.mean(), 12 * is_touched.mean()) if elements else (0, 0),
    )


def plain_cases() -> list[Case]:
    """Fours and single elements, one, none."""
    return [
        case("fours", 1032, False, elements=1032),
        case("odd count", 517, False),
        case("one", 1, False),
        case("none", 0, False),
    ]


def masked_cases() -> list[Case]:
    """The same where most gradients are zero."""
    return [
        case("fours", 2060, True, elements=2060),
        case("odd count", 1031, True),
        case("one", 1, True),
        case("none", 0, True),
    ]


KERNELS = [
    Kernel(
        name="adam_step",
        source="adam.cu",
        what="Adam's update in place. One thread owns four neighbouring elements (one where the count or an address "
        "is not a multiple of four): it reads parameter, gradient and both moments once and writes three of them "
        "once.",
        entries=("adam_step<4, false>", "adam_step<1, false>"),
        cases=plain_cases,
        mutations=(
            Mutation("one chunk too many", "chunk >= chunks", "chunk > chunks", "bounds"),
            Mutation("root not corrected", "sqrtf(v.at[i]) / step.root_correction", "sqrtf(v.at[i])", "value"),
            Mutation("second moment not stored", "  store(exp_avg_sq + first, v);\n", "", "value"),
            Mutation("only the first of four moves", "i < kWidth; ++i) {", "i < 1; ++i) {", "value"),
        ),
    ),
    Kernel(
        name="masked_adam_step",
        source="adam.cu",
        what="The same for DVGO's masked form: elements without a gradient keep all they have, and of four such "
        "neighbours only the gradient is read.",
        entries=("adam_step<4, true>", "adam_step<1, true>"),
        cases=masked_cases,
        mutations=(
            Mutation("mask forgotten", "    if (kMasked && g.at[i] == 0.0f) continue;\n", "", "value"),
            Mutation(
                "one element decides for four", "is_touched |= g.at[i] != 0.0f", "is_touched = g.at[i] != 0.0f", "value"
            ),
            Mutation("first decay taken for the second", "v.at[i] * step.beta2", "v.at[i] * step.beta1", "value"),
        ),
    ),
]
