"""The contracted marcher's two kernels: exactly the samples of the reference, and planted defects."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from simulator import Case, Kernel, Mutation, unwritten

from nerf_ssim.ops.reference import contracted as reference

BG_LEN, MIN_DISTANCE = 0.2, 0.06
# Rays, places in each half of a ray, has a mask.
MARCHES = [(21, 40, True), (9, 33, False), (10, 16, True), (1, 1, False), (5, 0, True), (0, 9, True)]


def make_march(rays: int, n_inner: int, has_mask: bool) -> tuple[dict, tuple[torch.Tensor, ...]]:
    """The arguments that the launchers share, and the reference's samples."""
    generator = torch.Generator().manual_seed(rays)
    origins = torch.rand(rays, 3, generator=generator) * 1.6 - 0.8
    directions = F.normalize(torch.randn(rays, 3, generator=generator), dim=1)
    origins[: min(2, rays)] = torch.tensor([[0.0, 0, 0], [1.5, 0.1, 0]])[:rays]
    edges = torch.cat((torch.linspace(0, 2, n_inner + 1), (2 / torch.linspace(1, 1 / 128, n_inner + 1))[1:]))
    t = (edges[1:] + edges[:-1]) * 0.5
    mask = torch.rand(5, 7, 6, generator=torch.Generator().manual_seed(2)) < 0.5 if has_mask else None
    samples = reference.march_contracted(origins, directions, t, BG_LEN, MIN_DISTANCE, mask)
    march = {
        "origins": origins.numpy(),
        "directions": directions.numpy(),
        "rays": rays,
        "t": t.numpy(),
        "places": len(t),
        "outer_radius": 1 + BG_LEN,
        "bg_len": BG_LEN,
        "min_distance": MIN_DISTANCE,
        "mask": None if mask is None else mask.numpy(),
        "nodes": (0, 0, 0) if mask is None else tuple(mask.shape),
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
                launcher="launch_count_contracted",
                arguments={**arguments, "counts": np.full(march[0], -1)},
                expected={"counts": samples[3].diff().numpy()},
                elements=march[0] * 2 * march[1] if march is MARCHES[0] else 0,
                floor=(28 / 80, 8 / 80),
            )
        )
    return cases


def fill_cases() -> list[Case]:
    """Bit for bit the reference's samples."""
    cases = []
    for march in MARCHES:
        arguments, (coords, t, ray_index, offsets) = make_march(*march)
        samples = len(t)
        cases.append(
            Case(
                name=f"{march}",
                launcher="launch_fill_contracted",
                arguments={
                    **arguments,
                    "offsets": offsets.numpy(),
                    "coords": unwritten(samples, 3),
                    "t": unwritten(samples),
                    "ray_index": np.full(samples, -1),
                },
                expected={"coords": coords.numpy(), "t": t.numpy(), "ray_index": ray_index.numpy()},
                tolerance=0.0,
                elements=samples if march is MARCHES[0] else 0,
                floor=(0, 24),
            )
        )
    return cases


KERNELS = [
    Kernel(
        name="march_contracted_count",
        source="contracted.cu",
        what="First pass of the contracted marcher. A warp owns a ray and works out 32 places at once, one a lane; the "
        "distance that thins them out is accumulated by all lanes alike, one place after the other, so that exactly "
        "the reference's samples are kept. A ballot counts them.",
        entries=("count_contracted",),
        cases=count_cases,
        mutations=(
            Mutation("every place behind one is over", "is_over |= other == lane;", "is_over = true;", "value"),
            Mutation(
                "last place of the lanes before forgotten",
                "const Position before = lane > 0 ? lower : last;",
                "const Position before = lane > 0 ? lower : q;",
                "value",
            ),
            Mutation("never set back", "        accumulated = 0.0f;\n", "", "value"),
            Mutation("first place has a distance", "      if (first + other == 0) continue;\n", "", "value"),
            Mutation(
                "mask one node off",
                "cell = cell * nodes + static_cast<int64_t>(nearest);",
                "cell = cell * nodes + static_cast<int64_t>(nearest) + 1;",
                "bounds",
            ),
            Mutation("every lane writes its own", "if (threadIdx.x % kWarpLanes == 0) counts", "counts", "race"),
        ),
    ),
    Kernel(
        name="march_contracted_fill",
        source="contracted.cu",
        what="Second pass: the same again, and each kept lane writes its sample behind those of earlier lanes, which "
        "the ballot counts. Samples come out in the order of rays and of distance, with no atomics.",
        entries=("fill_contracted",),
        cases=fill_cases,
        mutations=(
            Mutation(
                "lanes write behind later lanes",
                "__popc(kept & earlier_lanes)",
                "__popc(kept & ~earlier_lanes) - 1",
                "value",
            ),
            Mutation("samples before the ray's forgotten", "int64_t next = offsets[ray];", "int64_t next = 0;", "race"),
            Mutation("not contracted", "if (norm <= 1.0f) return p;", "return p;", "value"),
            Mutation("fused rounding", "__fadd_rn(o[0], __fmul_rn(d[0], t))", "fmaf(d[0], t, o[0])", "value"),
        ),
    ),
]
