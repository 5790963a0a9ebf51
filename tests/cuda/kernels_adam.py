"""Adam's kernel over many tensors: cases against the update in float64, and planted defects."""

from __future__ import annotations

import math

import numpy as np
from simulator import Case, Kernel, Mutation

RATE, BETA1, BETA2, EPS, STEP = 0.02, 0.9, 0.99, 1e-8, 7
MOST_TENSORS = 32  # in one launch

FACTORS = {  # the fields of AdamStep, as cuda_ext/include/adam_step.h works them out
    "beta1": BETA1,
    "beta2": BETA2,
    "first_weight": 1 - BETA1,
    "second_weight": 1 - BETA2,
    "root_correction": math.sqrt(1 - BETA2**STEP),
    "eps": EPS,
    "step_size": RATE / (1 - BETA1**STEP),
}
ARRAYS = ("param", "grad", "exp_avg", "exp_avg_sq")


def padded(values: list, nothing: object) -> tuple:
    """The values as an array in the launcher's struct, which always has places for the most tensors."""
    return (*values, *[nothing] * (MOST_TENSORS - len(values)))


def as_struct(tensors: list[dict[str, np.ndarray]], factors: list[tuple[float, float]]) -> dict:
    """Tensors and their own correction of the root and step size, as the launcher takes them."""
    return {
        **{name: padded([each[name] for each in tensors], None) for name in ARRAYS},
        "count": padded([each["param"].size for each in tensors], 0),
        "root_correction": padded([first for first, _ in factors], 1.0),
        "step_size": padded([second for _, second in factors], 0.0),
        "tensors": len(tensors),
    }


def case(name: str, counts: list[int], *, corrects_root: bool, elements: int = 0) -> Case:
    """One step of tensors of so many elements, each with a rate and a number of steps of its own."""
    random = np.random.default_rng(sum(counts))
    tensors, expected, factors = [], [], []
    for number, count in enumerate(counts):
        param, grad, first = (random.standard_normal(count).astype(np.float32) for _ in range(3))
        second = random.random(count).astype(np.float32)
        tensors.append(dict(zip(ARRAYS, (param, grad, first, second), strict=True)))
        step = STEP + number
        root, size = math.sqrt(1 - BETA2**step), RATE / (1 + number) / (1 - BETA1**step)
        p, g, m, v = (array.astype(np.float64) for array in (param, grad, first, second))
        new_m, new_v = BETA1 * m + (1 - BETA1) * g, BETA2 * v + (1 - BETA2) * g * g
        if corrects_root:
            factors.append((root, size))
            moved = p - size * new_m / (np.sqrt(new_v) / root + EPS)
        else:
            factors.append((1.0, size * root))
            moved = p - size * root * new_m / (np.sqrt(new_v) + EPS)
        kept = grad if corrects_root else np.zeros_like(grad)
        expected.append({"param": moved, "grad": kept, "exp_avg": new_m, "exp_avg_sq": new_v})
    struct = as_struct(tensors, factors)
    return Case(
        name=name,
        launcher="launch_adam_steps",
        arguments={"shared": FACTORS, "corrects_root": corrects_root, "all": struct},
        expected={"all": {name: tuple(each[name] for each in expected) for name in ARRAYS}},
        elements=elements,
        floor=(16, 12) if elements else (0, 0),
    )


def cases() -> list[Case]:
    """Fours and single elements, both forms, tensors of very different sizes, none."""
    return [
        case("fours", [1032, 8, 260], corrects_root=True, elements=1300),
        case("odd counts", [517, 1, 0, 64], corrects_root=True),
        case("DVGO's form", [520, 4], corrects_root=False),
        case("DVGO's form, odd counts", [33, 3], corrects_root=False),
        case("none", [], corrects_root=True),
    ]


KERNELS = [
    Kernel(
        name="adam_steps",
        source="adam.cu",
        what="Adam's update of up to 32 tensors in place, the published form and DVGO's. A row of blocks owns a "
        "tensor, and one thread four neighbouring elements (one where a count or an address is not a multiple of "
        "four): it reads parameter, gradient and both moments once and writes three of them once.",
        entries=("adam_steps<4, true>", "adam_steps<1, true>", "adam_steps<4, false>", "adam_steps<1, false>"),
        cases=cases,
        mutations=(
            Mutation("one chunk too many", "chunk < chunks", "chunk <= chunks", "bounds"),
            Mutation("root not corrected", "sqrtf(v.at[i]) / root_correction", "sqrtf(v.at[i])", "value"),
            Mutation("second moment not stored", "    store(exp_avg_sq + first, v);\n", "", "value"),
            Mutation("rate of the first tensor for all", "tensors.step_size[t];", "tensors.step_size[0];", "value"),
            Mutation("gradient not cleared", "if (!kCorrectsRoot) store", "if (kCorrectsRoot) store", "value"),
            Mutation("both rows of blocks own one tensor", "t = blockIdx.y", "t = blockIdx.y / 2 * 2", "race"),
        ),
    ),
]
