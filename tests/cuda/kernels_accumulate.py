"""Sums over rays: cases against float64 autograd of the reference, and planted defects."""

from __future__ import annotations

import numpy as np
import torch
from simulator import Case, Kernel, Mutation, single, unwritten

from nerf_ssim.ops.reference import compositing as reference

TOLERANCE = 1e-5
# Samples, channels, rays, whether in the order of the rays. The first fills several blocks, whose edges rays cross.
SUMS = [(700, 3, 5, True), (300, 3, 40, False), (65, 7, 9, True), (1, 1, 3, True), (0, 3, 4, True)]


class Sums:
    """Samples to be added up, and what comes of it."""

    def __init__(self, samples: int, channels: int, rays: int, is_sorted: bool) -> None:
        generator = torch.Generator().manual_seed(samples)
        self.samples, self.channels, self.rays = samples, channels, rays
        index = torch.randint(0, rays, (samples,), generator=generator)
        self.ray_index = index.sort().values if is_sorted else index
        self.weights = torch.rand(samples, generator=generator).double().requires_grad_()
        self.values = torch.randn(samples, channels, generator=generator).double().requires_grad_()
        self.out = reference.accumulate(self.weights, self.values, self.ray_index, rays)
        self.upstream = torch.linspace(-1, 1.5, self.out.numel()).cos().reshape(self.out.shape)
        self.grads = torch.autograd.grad(self.out, (self.weights, self.values), self.upstream.double())

    def arguments(self) -> dict:
        """What the launchers begin with."""
        sums = {
            "weights": single(self.weights),
            "values": single(self.values),
            "ray_index": self.ray_index.numpy(),
            "samples": self.samples,
            "channels": self.channels,
            "rays": self.rays,
        }
        return {"sums": sums}


def accumulate_cases() -> list[Case]:
    """In order and not, and with rays that do not exist, which get nothing."""
    cases = []
    for samples, channels, rays, is_sorted in SUMS:
        sums = Sums(samples, channels, rays, is_sorted)
        cases.append(
            Case(
                name=f"{samples} samples of {rays} rays{', sorted' if is_sorted else ''}",
                launcher="launch_accumulate",
                arguments={
                    **sums.arguments(),
                    "out": np.zeros((rays, channels), dtype=np.float32),
                },
                expected={"out": sums.out.detach().numpy()},
                tolerance=TOLERANCE,
                shares_addresses=samples == 700,
                elements=samples if samples == 700 else 0,
                floor=(24, 0),
            )
        )
    return [*cases, rays_outside_case()]


def rays_outside_case() -> Case:
    """Samples of rays that do not exist."""
    return Case(
        name="rays outside",
        launcher="launch_accumulate",
        arguments={
            "sums": {
                "weights": np.ones(4, dtype=np.float32),
                "values": np.ones((4, 1), dtype=np.float32),
                "ray_index": np.array([-1, 0, 1, 2], dtype=np.int64),
                "samples": 4,
                "channels": 1,
                "rays": 2,
            },
            "out": np.zeros((2, 1), dtype=np.float32),
        },
        expected={"out": np.ones((2, 1))},
    )


def accumulate_ordered_cases() -> list[Case]:
    """The same sums by ascending ray."""
    cases = []
    for samples, channels, rays, is_sorted in SUMS:
        sums = Sums(samples, channels, rays, is_sorted)
        ordered = sums.ray_index.sort(stable=True)
        cases.append(
            Case(
                name=f"{samples} samples of {rays} rays",
                launcher="launch_accumulate_ordered",
                arguments={
                    **sums.arguments(),
                    "sorted_rays": ordered.values.numpy(),
                    "order": ordered.indices.numpy(),
                    "out": unwritten(rays, channels),
                },
                expected={"out": sums.out.detach().numpy()},
                tolerance=TOLERANCE,
                elements=samples if samples == 700 and is_sorted else 0,
                floor=(32, 0),
            )
        )
    return cases


def accumulate_backward_cases() -> list[Case]:
    """Gradients of the same sums."""
    cases = []
    for samples, channels, rays, is_sorted in SUMS:
        sums = Sums(samples, channels, rays, is_sorted)
        cases.append(
            Case(
                name=f"{samples} samples of {rays} rays",
                launcher="launch_accumulate_backward",
                arguments={
                    **sums.arguments(),
                    "grad": single(sums.upstream),
                    "grad_weights": unwritten(samples),
                    "grad_values": unwritten(samples, channels),
                },
                expected={"grad_weights": sums.grads[0].numpy(), "grad_values": sums.grads[1].numpy()},
                tolerance=TOLERANCE,
                elements=samples if samples == 700 else 0,
                floor=(24, 16),
            )
        )
    return cases


KERNELS = [
    Kernel(
        name="accumulate",
        source="compositing.cu",
        what="Weighted sums over rays. One thread owns a sample; neighbouring lanes on one ray, the usual case, "
        "first add up by shuffles, so that a ray costs one atomic addition a warp and channel.",
        entries=("accumulate",),
        cases=accumulate_cases,
        mutations=(
            Mutation(
                "dropped atomic", "atomicAdd(out + ray * channels + c, sum);", "out[ray * channels + c] += sum;", "race"
            ),
            Mutation("every lane writes", "const bool writes = segment.is_head &&", "const bool writes =", "value"),
            Mutation(
                "one sample too many",
                "const bool is_sample = s < sums.samples;",
                "const bool is_sample = s <= sums.samples;",
                "bounds",
            ),
            Mutation(
                "runs of lanes not kept apart",
                "if (lane + offset < segment.next) value += other;",
                "value += other;",
                "value",
                "segments.cuh",
            ),
            Mutation(
                "a ray that does not exist is written",
                "is_head && ray >= 0 && ray < sums.rays;",
                "is_head && ray >= 0 && ray <= sums.rays;",
                "bounds",
            ),
        ),
    ),
    Kernel(
        name="accumulate_ordered",
        source="compositing.cu",
        what="The same sums in a fixed order, for torch.use_deterministic_algorithms: a warp owns a ray, finds its "
        "samples in the sorted list by bisection and adds them without atomics.",
        entries=("accumulate_ordered",),
        cases=accumulate_ordered_cases,
        mutations=(
            Mutation(
                "last sample of a ray left out",
                "i < end; i += kWarpLanes)\n      sum",
                "i < end - 1; i += kWarpLanes)\n      sum",
                "value",
            ),
            Mutation(
                "order ignored",
                "sums.weights[order[i]] * sums.values[order[i] * channels + c]",
                "sums.weights[i] * sums.values[i * channels + c]",
                "value",
            ),
            Mutation(
                "lanes not added up",
                "    sum = warp_sum(sum);\n    if (lane == 0) out",
                "    if (lane == 0) out",
                "value",
            ),
            Mutation(
                "every lane writes",
                "    if (lane == 0) out[ray * channels + c] = sum;",
                "    out[ray * channels + c] = sum;",
                "race",
            ),
        ),
    ),
    Kernel(
        name="accumulate_backward",
        source="compositing.cu",
        what="Gradients of the weights and values: one thread owns a sample and reads its ray's upstream gradient.",
        entries=("accumulate_backward",),
        cases=accumulate_backward_cases,
        mutations=(
            Mutation(
                "one sample too many", "if (s >= sums.samples) return;", "if (s > sums.samples) return;", "bounds"
            ),
            Mutation("wrong stride of the upstream gradient", "grad[ray * channels + c]", "grad[ray + c]", "value"),
            Mutation(
                "only the last channel counts", "sum += upstream * sums.values", "sum = upstream * sums.values", "value"
            ),
        ),
    ),
]
