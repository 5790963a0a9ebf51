"""DVGO's losses of a render: cases against float64 autograd of the reference, and planted defects."""

from __future__ import annotations

import numpy as np
import torch
from simulator import Case, Kernel, Mutation, single, unwritten

from nerf_ssim.ops.reference.ray_losses import light_entropy, point_error

PARTIAL_SUMS = 1024  # scratch that the launchers want
UPSTREAM = -0.75


def light_of(count: int) -> torch.Tensor:
    """Light behind rays, some of it none or all, as float32 holds it."""
    light = torch.rand(count, generator=torch.Generator().manual_seed(count))
    light[10::7], light[11::7] = 0.0, 1.0
    return light.double()


def entropy_cases() -> list[Case]:
    """Several blocks, one, a single ray."""
    return [
        Case(
            name=f"{count} rays",
            launcher="launch_light_entropy",
            arguments={
                "light": single(light_of(count)),
                "count": count,
                "partial_sums": unwritten(PARTIAL_SUMS),
                "out": unwritten(1),
            },
            expected={"out": light_entropy(light_of(count)).reshape(1).numpy()},
            tolerance=1e-5,
            elements=count if count == 700 else 0,
            floor=(4, 0),
        )
        for count in (700, 100, 1)
    ]


def entropy_backward_cases() -> list[Case]:
    """Several blocks, one, a single ray, with an upstream gradient that is not one."""
    cases = []
    for count in (700, 100, 2):
        light = light_of(count).requires_grad_()
        (light_entropy(light) * UPSTREAM).backward()
        cases.append(
            Case(
                name=f"{count} rays",
                launcher="launch_light_entropy_backward",
                arguments={
                    "light": single(light),
                    "count": count,
                    "scale": np.array([UPSTREAM], np.float32),
                    "gradient": unwritten(count),
                },
                expected={"gradient": light.grad.numpy()},
                tolerance=1e-5,
                elements=count if count == 700 else 0,
                floor=(4, 4),
            )
        )
    return cases


def points_of(samples: int, rays: int) -> tuple[torch.Tensor, ...]:
    """Colours, weights, rays of samples, and true colours; the third sample's ray does not exist."""
    generator = torch.Generator().manual_seed(samples)
    rgb, weights = torch.rand(samples, 3, generator=generator), torch.rand(samples, generator=generator)
    ray_index = torch.sort(torch.randint(rays, (samples,), generator=generator))[0]
    return rgb.double(), weights.double(), ray_index, torch.rand(rays, 3, generator=generator).double()


SIZES = ((700, 30), (100, 200), (2, 1))


def struct_of(rgb: torch.Tensor, weights: torch.Tensor, ray_index: np.ndarray, target: torch.Tensor) -> dict:
    """Points as the launchers take them."""
    return {
        "rgb": single(rgb),
        "weights": single(weights),
        "ray_index": ray_index,
        "target": single(target),
        "samples": len(weights),
        "rays": len(target),
    }


def with_a_ray_that_is_not_there(ray_index: torch.Tensor, weights: torch.Tensor, rays: int) -> np.ndarray:
    """The rays, of which the first is none where there are many; that sample's weight becomes 0 for the reference."""
    changed = ray_index.numpy().copy()
    if len(changed) > 10:
        changed[0], changed[1] = -1, rays
        weights[:2] = 0
    return changed


def point_cases() -> list[Case]:
    """Several blocks, one, two samples."""
    cases = []
    for samples, rays in SIZES:
        rgb, weights, ray_index, target = points_of(samples, rays)
        given = weights.clone()
        changed = with_a_ray_that_is_not_there(ray_index, weights, rays)
        cases.append(
            Case(
                name=f"{samples} samples of {rays} rays",
                launcher="launch_point_error",
                arguments={
                    "points": struct_of(rgb, given, changed, target),
                    "partial_sums": unwritten(PARTIAL_SUMS),
                    "out": unwritten(1),
                },
                expected={"out": point_error(rgb, weights, ray_index, target).reshape(1).numpy()},
                tolerance=1e-5,
                elements=samples if samples == 700 else 0,
                floor=(24, 0),
            )
        )
    return cases


def point_backward_cases() -> list[Case]:
    """The same, with an upstream gradient that is not one."""
    cases = []
    for samples, rays in SIZES:
        rgb, weights, ray_index, target = points_of(samples, rays)
        given = weights.clone()
        changed = with_a_ray_that_is_not_there(ray_index, weights, rays)
        rgb.requires_grad_()
        (point_error(rgb, weights, ray_index, target) * UPSTREAM).backward()
        cases.append(
            Case(
                name=f"{samples} samples of {rays} rays",
                launcher="launch_point_error_backward",
                arguments={
                    "points": struct_of(rgb, given, changed, target),
                    "scale": np.array([UPSTREAM], np.float32),
                    "gradient": unwritten(samples, 3),
                },
                expected={"gradient": rgb.grad.numpy()},
                tolerance=1e-5,
                elements=samples if samples == 700 else 0,
                floor=(24, 12),
            )
        )
    return cases


KERNELS = [
    Kernel(
        name="light_entropy",
        source="ray_losses.cu",
        what="Mean entropy of the light behind each ray. Each thread takes every so many rays; one float a block goes "
        "to scratch and a second kernel adds those in a fixed order, so there are no atomics.",
        entries=("light_entropy", "divided_sum"),
        cases=entropy_cases,
        mutations=(
            Mutation("not kept away from 0", "p < kSureLight ? kSureLight : p >", "p >", "value"),
            Mutation("one ray too many", "i < items; i +=", "i <= items; i +=", "bounds"),
            Mutation("a sum for a mean", "out[0] = sum / divisor", "out[0] = sum", "value"),
            Mutation("every block writes one sum", "partial_sums[blockIdx.x] = sum", "partial_sums[0] = sum", "race"),
        ),
    ),
    Kernel(
        name="light_entropy_backward",
        source="ray_losses.cu",
        what="Its gradient, one thread a ray; nothing pulls at light that was kept away from 0 or 1.",
        entries=("light_entropy_backward",),
        cases=entropy_backward_cases,
        mutations=(
            Mutation("clamped light is pulled", "is_clamped ? 0.0f : *scale", "false ? 0.0f : *scale", "value"),
            Mutation("one ray too many", "if (ray >= count) return", "if (ray > count) return", "bounds"),
            Mutation("wrong sign", "logf(1.0f - p) - logf(p))", "logf(p) - logf(1.0f - p))", "value"),
        ),
    ),
    Kernel(
        name="point_error",
        source="ray_losses.cu",
        what="Squared error of each sample's own colour, by weight, over the rays: sums of one number a sample.",
        entries=("point_error", "divided_sum"),
        cases=point_cases,
        mutations=(
            Mutation("two channels", "channel < 3; ++channel) {", "channel < 2; ++channel) {", "value"),
            Mutation(
                "unweighted",
                "squared_error(points, sample, ray) * points.weights[sample]",
                "squared_error(points, sample, ray)",
                "value",
            ),
            Mutation(
                "divided by samples",
                "add_up(partial_sums, points.samples, points.rays,",
                "add_up(partial_sums, points.samples, points.samples,",
                "value",
            ),
        ),
    ),
    Kernel(
        name="point_error_backward",
        source="ray_losses.cu",
        what="Its gradient with respect to the colours, one thread a sample.",
        entries=("point_error_backward",),
        cases=point_backward_cases,
        mutations=(
            Mutation(
                "one sample too many", "sample >= points.samples) return", "sample > points.samples) return", "bounds"
            ),
            Mutation("upstream gradient forgotten", "2.0f * (*scale / static", "2.0f * (1.0f / static", "value"),
            Mutation("channel forgotten", "gradient[3 * sample + channel] =", "gradient[3 * sample] =", "value"),
        ),
    ),
]
