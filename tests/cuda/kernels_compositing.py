"""Compositing: cases against float64 autograd of the reference, and planted defects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from simulator import Case, Kernel, Mutation, single, unwritten
from torch import Tensor

from nerf_ssim.ops.reference import compositing as reference

SCALE = 25.0
TOLERANCE = 1e-5
# Rays of no, one and many samples, as long as a warp and longer; more rays than a block has warps.
COUNTS = [[5, 0, 1, 30, 0, 32, 33, 64, 100], [3] * 19, [1], [0, 0]]


def make_samples(counts: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Density and length of packed samples with so many on each ray, and the rays' offsets; clear to opaque."""
    offsets = torch.tensor([0, *np.cumsum(counts)], dtype=torch.int64)
    generator = torch.Generator().manual_seed(len(counts))
    sigma = (torch.randn(int(offsets[-1]), generator=generator) * 4 - 1).exp()
    return sigma.double(), torch.rand(len(sigma), generator=generator).double() * 0.02, offsets


def common_arguments(sigma: Tensor, delta: Tensor, offsets: Tensor) -> dict:
    """What both passes of compositing begin with."""
    samples = {
        "sigma": single(sigma),
        "delta": single(delta),
        "offsets": offsets.numpy(),
        "rays": len(offsets) - 1,
        "samples": len(sigma),
        "distance_scale": SCALE,
    }
    return {"samples": samples}


def composite_cases() -> list[Case]:
    """Every set of rays, and offsets that lead out of the arrays."""
    cases = []
    for counts in COUNTS:
        samples = make_samples(counts)
        weights, opacity, transmittance = (out.numpy() for out in reference.composite(*samples, SCALE))
        cases.append(
            Case(
                name=f"{counts[:9]}",
                launcher="launch_composite",
                arguments={
                    **common_arguments(*samples),
                    "weights": unwritten(len(weights)),
                    "opacity": unwritten(len(opacity)),
                    "transmittance": unwritten(len(weights)),
                },
                expected={"weights": weights, "opacity": opacity, "transmittance": transmittance},
                tolerance=TOLERANCE,
                elements=len(weights) if counts is COUNTS[0] else 0,
                floor=(8, 8),
            )
        )
    return [*cases, offsets_outside_case()]


def offsets_outside_case() -> Case:
    """Offsets that nobody may pass read and write inside the arrays all the same."""
    sigma, delta, _ = make_samples([4])
    wrong = torch.tensor([-3, 9, 2], dtype=torch.int64)
    weights, opacity, transmittance = (
        out.numpy() for out in reference.composite(sigma, delta, torch.tensor([0, 4]), SCALE)
    )
    return Case(
        name="offsets outside",
        launcher="launch_composite",
        arguments={
            **common_arguments(sigma, delta, wrong),
            "weights": unwritten(4),
            "opacity": unwritten(2),
            "transmittance": unwritten(4),
        },
        expected={
            "weights": weights,
            "opacity": np.array([opacity[0], 0.0]),
            "transmittance": transmittance,
        },
        tolerance=TOLERANCE,
    )


def composite_backward_cases() -> list[Case]:
    """Gradients of all outputs together and of each alone."""
    cases = []
    for counts in COUNTS:
        for wanted in [(True, True, True), (True, False, False), (False, True, False), (False, False, True)]:
            if counts is not COUNTS[0] and not all(wanted):
                continue
            sigma, delta, offsets = make_samples(counts)
            sigma.requires_grad_()
            outputs = reference.composite(sigma, delta, offsets, SCALE)
            upstream = [
                torch.linspace(-1, 1.5, len(out)).cos() if want else None
                for out, want in zip(outputs, wanted, strict=True)
            ]
            loss = sum((out * grad).sum() for out, grad in zip(outputs, upstream, strict=True) if grad is not None)
            (gradient,) = torch.autograd.grad(loss, sigma)
            names = ("grad_weights", "grad_opacity", "grad_transmittance")
            cases.append(
                Case(
                    name=f"{counts[:9]} {wanted}",
                    launcher="launch_composite_backward",
                    arguments={
                        **common_arguments(sigma, delta, offsets),
                        "transmittance": single(outputs[2]),
                        **{n: None if g is None else single(g) for n, g in zip(names, upstream, strict=True)},
                        "grad_sigma": unwritten(len(sigma)),
                    },
                    expected={"grad_sigma": gradient.numpy()},
                    tolerance=TOLERANCE,
                    elements=len(sigma) if counts is COUNTS[0] and all(wanted) else 0,
                    floor=(20, 4),
                )
            )
    return cases


KERNELS = [
    Kernel(
        name="composite",
        source="compositing.cu",
        what="Weights, transmittance and opacity of packed samples. A warp owns a ray and takes its samples 32 at a "
        "time: the product of the factors before each comes from a scan over the lanes, and what passed the last "
        "lane goes on to the next 32. Offsets that lead out of the arrays are cut off.",
        entries=("composite",),
        cases=composite_cases,
        mutations=(
            Mutation(
                "light not carried to the next 32 samples",
                "light *= __shfl_sync(kWholeWarp, passed, kWarpLanes - 1);",
                "",
                "value",
            ),
            Mutation(
                "product includes the sample itself",
                "__shfl_up_sync(kWholeWarp, passed, 1);",
                "__shfl_up_sync(kWholeWarp, passed, 0);",
                "value",
            ),
            Mutation(
                "one sample beyond the ray",
                "const float alpha = s < range.end ?",
                "const float alpha = s <= range.end ?",
                "bounds",
            ),
            Mutation(
                "a lane's offset is off by one",
                "if (lane >= offset) passed *=",
                "if (lane > offset) passed *=",
                "value",
            ),
            Mutation(
                "lanes beyond the end leave before a shuffle",
                "    // 2. product of the lanes'",
                "    if (s >= range.end) return;\n    // 2. product of the lanes'",
                "named",
            ),
        ),
    ),
    Kernel(
        name="composite_backward",
        source="compositing.cu",
        what="Gradient with respect to density. A warp goes along its ray from the end; what later samples pull at the "
        "light is an affine recurrence, which the lanes compose in a scan. Upstream gradients that are not there are "
        "not read.",
        entries=("composite_backward",),
        cases=composite_backward_cases,
        mutations=(
            Mutation(
                "pull not carried to the next 32 samples",
                "    carried = __shfl_sync(kWholeWarp, before, kWarpLanes - 1);\n",
                "",
                "value",
            ),
            Mutation(
                "functions composed the wrong way round",
                "own += factor * farther_own;\n        factor *= farther_factor;",
                "own = own * farther_factor + farther_own;\n        factor *= farther_factor;",
                "value",
            ),
            Mutation(
                "a sample before the ray",
                "const bool is_sample = s >= range.begin;",
                "const bool is_sample = s >= range.begin - 1;",
                "bounds",
            ),
            Mutation(
                "gradient of transmittance forgotten",
                "(is_sample && grad_transmittance ? grad_transmittance[s] : 0.0f)",
                "0.0f",
                "value",
            ),
        ),
    ),
]
