"""The marcher's three kernels: exactly the samples of the reference, and planted defects."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from simulator import Case, Kernel, Mutation, unwritten
from torch import Tensor

from nerf_ssim.ops.reference import marching as reference

AABB = torch.tensor([[-1.0, -0.5, -2.0], [1.5, 1.0, 0.5]])
NEAR, FAR, STEP = 0.05, 3.0, 0.11
SCAN_THREADS = 1024
# Rays, places on each, has jitter, has occupancy.
MARCHES = [
    (21, 70, True, True),
    (9, 33, False, False),
    (9, 8, True, False),
    (1, 1, False, True),
    (5, 0, True, True),
    (0, 9, True, True),
]


def make_rays(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rays inside and outside the box, some along an axis, some that miss it, and a shift for each."""
    generator = torch.Generator().manual_seed(count)
    origins = torch.rand(count, 3, generator=generator) * 5 - 2.5
    directions = F.normalize(torch.randn(count, 3, generator=generator), dim=1)
    axes = torch.eye(3).repeat(2, 1) * torch.tensor([1.0, 1, 1, -1, -1, -1])[:, None]
    directions[: min(6, count)] = axes[: min(6, count)]
    origins[: min(4, count)] = 0.0
    return origins, directions, torch.rand(count, generator=generator)


def make_march(rays: int, places: int, has_jitter: bool, has_occupancy: bool) -> tuple[dict, tuple[Tensor, ...]]:
    """The arguments that the launchers share, and the reference's samples."""
    origins, directions, shifts = make_rays(rays)
    jitter = shifts if has_jitter else None
    volume = torch.rand(5, 7, 6, generator=torch.Generator().manual_seed(2)) < 0.3
    bits = reference.corner_bits(volume) if has_occupancy else None
    bits_aabb = AABB * 0.9 if has_occupancy else None
    samples = reference.march_box(origins, directions, AABB, NEAR, FAR, STEP, places, jitter, bits, bits_aabb)
    march = {
        "origins": origins.numpy(),
        "directions": directions.numpy(),
        "rays": rays,
        "aabb": AABB.numpy(),
        "near": NEAR,
        "far": FAR,
        "step": STEP,
        "places": places,
        "jitter": None if jitter is None else jitter.numpy(),
        "bits": None if bits is None else bits.numpy(),
        "cells": (0, 0, 0) if bits is None else tuple(bits.shape),
        "bits_aabb": None if bits_aabb is None else bits_aabb.numpy(),
    }
    return {"march": march}, samples


def count_cases() -> list[Case]:
    """Exactly as many samples on every ray."""
    cases = []
    for march in MARCHES:
        arguments, samples = make_march(*march)
        cases.append(
            Case(
                name=f"{march}",
                launcher="launch_count_samples",
                arguments={**arguments, "counts": np.full(march[0], -1)},
                expected={"counts": samples[4].diff().numpy()},
                elements=march[0] * march[1] if march is MARCHES[0] else 0,
                floor=(28 / 70, 8 / 70),
            )
        )
    return cases


def offset_cases() -> list[Case]:
    """Up to two and a half turns of the block, and sums beyond 2^31."""
    cases = []
    for rays, most in [(SCAN_THREADS * 5 // 2, 900), (SCAN_THREADS, 3), (33, 1 << 40), (1, 5), (0, 1)]:
        counts = np.random.default_rng(rays).integers(0, most, rays)
        cases.append(
            Case(
                name=f"{rays} rays",
                launcher="launch_sample_offsets",
                arguments={"counts": counts, "rays": rays, "offsets": np.full(rays + 1, -1)},
                expected={"offsets": np.concatenate(([0], counts.cumsum()))},
                elements=rays if rays == SCAN_THREADS else 0,
                floor=(8, 8),
            )
        )
    return cases


def fill_cases() -> list[Case]:
    """Bit for bit the reference's samples: the tolerance is one rounding of the largest distance."""
    cases = []
    for march in MARCHES:
        arguments, (coords, t, delta, ray_index, offsets) = make_march(*march)
        samples = len(t)
        cases.append(
            Case(
                name=f"{march}",
                launcher="launch_fill_samples",
                arguments={
                    **arguments,
                    "offsets": offsets.numpy(),
                    "out": {
                        "coords": unwritten(samples, 3),
                        "t": unwritten(samples),
                        "delta": unwritten(samples),
                        "ray_index": np.full(samples, -1),
                    },
                },
                expected={
                    "out": {
                        "coords": coords.numpy(),
                        "t": t.numpy(),
                        "delta": delta.numpy(),
                        "ray_index": ray_index.numpy(),
                    }
                },
                tolerance=0.0,
                elements=samples if march is MARCHES[0] else 0,
                floor=(0, 28),
            )
        )
    return cases


KERNELS = [
    Kernel(
        name="march_count",
        source="marching.cu",
        what="First pass of the marcher. A warp owns a ray and tests its places 32 at a time, one a lane: in the "
        "box, and in a cell of which an occupied corner has weight; a ballot counts them. No product and sum is "
        "fused, so that exactly the reference's samples are kept.",
        entries=("count_samples",),
        cases=count_cases,
        mutations=(
            Mutation("places beyond the last are tested", "  if (place >= march.places) return false;\n", "", "value"),
            Mutation(
                "upper side forgotten",
                "x >= ray.lower[axis] && x <= ray.upper[axis]",
                "x >= ray.lower[axis]",
                "value",
            ),
            Mutation("far corners count on a node", "if (p == node) corners &=", "if (p > node) corners &=", "value"),
            Mutation(
                "cells one off",
                "cell * march.cells[axis] + static_cast<int64_t>(node) + 1",
                "cell * march.cells[axis] + static_cast<int64_t>(node) + 2",
                "bounds",
            ),
            Mutation("every lane writes its own", "if (threadIdx.x % kWarpLanes == 0) counts", "counts", "race"),
        ),
    ),
    Kernel(
        name="march_offsets",
        source="marching.cu",
        what="Where each ray's samples start: a scan of the counts by one block of 1024 threads, first within warps by "
        "shuffles and then over the warps' sums in shared memory.",
        entries=("sample_offsets",),
        cases=offset_cases,
        mutations=(
            Mutation(
                "no barrier before the warps' sums are read",
                "    __syncthreads();\n    // 2. every warp",
                "    // 2. every warp",
                "race",
            ),
            Mutation(
                "no barrier before the sums are written anew",
                "    __syncthreads();  // before the sums are written anew\n",
                "",
                "race",
            ),
            Mutation("earlier turns forgotten", "    before += __shfl_sync", "    before = __shfl_sync", "value"),
            Mutation(
                "a thread without a ray leaves",
                "    // 1. sums within each warp\n",
                "    if (ray >= rays) return;\n",
                "named",
            ),
            Mutation(
                "sums in 32 bits",
                "__device__ __forceinline__ int64_t warp_inclusive_sum(int64_t value)",
                "__device__ __forceinline__ int warp_inclusive_sum(int value)",
                "value",
            ),
        ),
    ),
    Kernel(
        name="march_fill",
        source="marching.cu",
        what="Second pass: the same tests again, and each kept lane writes its sample behind those of earlier lanes, "
        "which the ballot counts. Samples come out in the order of rays and of distance, with no atomics.",
        entries=("fill_samples",),
        cases=fill_cases,
        mutations=(
            Mutation(
                "lanes write behind later lanes",
                "__popc(kept & earlier_lanes)",
                "__popc(kept & ~earlier_lanes) - 1",
                "value",
            ),
            Mutation(
                "samples before the ray's forgotten", "int64_t next = offsets[index];", "int64_t next = 0;", "race"
            ),
            Mutation("place in the batch not moved on", "    next += __popc(kept);\n", "", "value"),
            Mutation(
                "last place keeps its length", "place == march.places - 1 ? 0.0f : march.step", "march.step", "value"
            ),
            Mutation(
                "fused rounding",
                "__fadd_rn(ray.entry, __fmul_rn(march.step, __fadd_rn(static_cast<float>(place), ray.shift)))",
                "fmaf(march.step, __fadd_rn(static_cast<float>(place), ray.shift), ray.entry)",
                "value",
            ),
        ),
    ),
]
