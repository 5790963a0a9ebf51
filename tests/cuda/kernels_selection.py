"""Samples that get a colour: cases against the reference, and planted defects."""

from __future__ import annotations

import numpy as np
import torch
from simulator import Case, Kernel, Mutation, single, unwritten

from nerf_ssim.ops.reference.selection import select_samples

SAMPLES_OF_A_WARP = 256
THRESHOLD = 0.5
RAYS = 9


def unknown(*shape: int) -> np.ndarray:
    """An integer output that nobody has written."""
    return np.full(shape, -77, dtype=np.int64)


def samples_of(count: int) -> tuple[dict, list[torch.Tensor]]:
    """Random samples as the launchers take them, and what the reference chooses of them."""
    generator = torch.Generator().manual_seed(count)
    weights = torch.rand(count, generator=generator)
    if count > 3 * SAMPLES_OF_A_WARP:
        weights[SAMPLES_OF_A_WARP : 2 * SAMPLES_OF_A_WARP] = 0.0  # a warp that chooses nothing
        weights[2 * SAMPLES_OF_A_WARP : 3 * SAMPLES_OF_A_WARP] = 1.0  # and one that chooses all
    if count:
        weights[0] = THRESHOLD  # which is not above it
    ray_index = torch.sort(torch.randint(RAYS, (count,), generator=generator))[0]
    coords, directions = torch.rand(count, 3, generator=generator), torch.rand(RAYS, 3, generator=generator)
    t = torch.rand(count, generator=generator)
    struct = {
        "weights": single(weights),
        "ray_index": ray_index.numpy(),
        "coords": single(coords),
        "directions": single(directions),
        "t": single(t),
        "samples": count,
        "rays": RAYS,
        "threshold": THRESHOLD,
    }
    return struct, list(select_samples(weights, ray_index, coords, directions, t, THRESHOLD))


def counts_of(weights: np.ndarray) -> np.ndarray:
    """How many each warp chooses."""
    starts = np.arange(0, len(weights), SAMPLES_OF_A_WARP)
    return np.add.reduceat((weights > THRESHOLD).astype(np.int64), starts) if len(weights) else np.zeros(0, np.int64)


SIZES = (1100, 5000, 3, 0)


def count_cases() -> list[Case]:
    """Several warps, several blocks, less than a warp, nothing."""
    cases = []
    for size in SIZES:
        struct, _ = samples_of(size)
        counts = counts_of(struct["weights"])
        cases.append(
            Case(
                name=f"{size} samples",
                launcher="launch_count_chosen",
                arguments={"from": struct, "counts": unknown(len(counts))},
                expected={"counts": counts},
                elements=size if size == 5000 else 0,
                floor=(4, 8 / SAMPLES_OF_A_WARP),
            )
        )
    return cases


def gather_cases() -> list[Case]:
    """The same; samples without a distance; rays that do not exist."""
    cases = []
    for size, kind in [(1100, ""), (5000, ""), (3, ""), (0, ""), (300, ", no t"), (300, ", no such ray")]:
        struct, chosen = samples_of(size)
        weights, index, rays, coords, directions, t = (each.numpy().copy() for each in chosen)
        if kind == ", no t":
            struct["t"] = None
        if kind == ", no such ray":
            struct["ray_index"][index[0]], struct["ray_index"][index[1]] = -1, RAYS
            rays[0], rays[1] = -1, RAYS
            directions[:2] = np.nan
        names = ("weights", "index", "ray_index", "coords", "directions", "t")
        expected = dict(zip(names, (weights, index, rays, coords, directions, t), strict=True))
        out = {
            name: unknown(*value.shape) if value.dtype == np.int64 else unwritten(*value.shape)
            for name, value in expected.items()
        }
        if kind == ", no t":
            out["t"] = None
            del expected["t"]
        before = np.concatenate([[0], np.cumsum(counts_of(struct["weights"]))]).astype(np.int64)
        cases.append(
            Case(
                name=f"{size} samples{kind}",
                launcher="launch_gather_chosen",
                arguments={"from": struct, "before": before, "to": out},
                expected={"to": expected},
                elements=size if size == 5000 else 0,
                # Weights of all are read; of the chosen, about half, all else is read and everything written.
                floor=(4 + 0.5 * 36, 0.5 * 52),
            )
        )
    return cases


def spread_cases() -> list[Case]:
    """All places, some, none."""
    cases = []
    for size, step in ((700, 3), (257, 1), (9, 10)):
        index = np.arange(0, size, step)[(step > size) :].astype(np.int64)
        grad = np.random.default_rng(size).standard_normal(len(index)).astype(np.float32)
        expected = np.zeros(size)
        expected[index] = grad
        cases.append(
            Case(
                name=f"{len(index)} of {size}",
                launcher="launch_spread_chosen",
                arguments={
                    "grad": grad,
                    "index": index,
                    "chosen": len(index),
                    "gradient": np.zeros(size, np.float32),
                    "samples": size,
                },
                expected={"gradient": expected},
                elements=len(index) if size == 257 else 0,
                floor=(12, 4),
            )
        )
    return cases


KERNELS = [
    Kernel(
        name="select_samples_count",
        source="selection.cu",
        what="Samples above the threshold, counted. A warp owns 256 samples and takes 32 at once, by ballots.",
        entries=("count_chosen",),
        cases=count_cases,
        mutations=(
            Mutation("at least the threshold", "from.weights[sample] > from", "from.weights[sample] >= from", "value"),
            Mutation("one sample too many is looked at", "sample < from.samples", "sample <= from.samples", "bounds"),
            Mutation("every lane writes its own", "if (lane == 0) counts[warp]", "counts[warp + lane]", "bounds"),
        ),
    ),
    Kernel(
        name="select_samples_gather",
        source="selection.cu",
        what="The same samples, gathered with their rays, coordinates, directions and distances. Each lane writes "
        "behind those of earlier lanes, which the ballot counts, so that samples stay in order without atomics.",
        entries=("gather_chosen",),
        cases=gather_cases,
        mutations=(
            Mutation("lanes write behind later lanes", "(1u << lane) - 1", "~((2u << lane) - 1)", "value"),
            Mutation("samples of earlier warps forgotten", "next = before[warp]", "next = before[0]", "race"),
            Mutation("the place is not moved on", "    next += __popc(chosen);\n", "", "value"),
            Mutation("a ray beyond the last is followed", "ray < from.rays", "ray <= from.rays", "bounds"),
            Mutation(
                "direction of the sample's place",
                "from.directions[3 * ray + axis]",
                "from.coords[3 * sample + axis]",
                "value",
            ),
        ),
    ),
    Kernel(
        name="select_samples_backward",
        source="selection.cu",
        what="Its gradient: one thread a chosen sample writes to the sample's place, which no other has; the rest is "
        "zero before.",
        entries=("spread_chosen",),
        cases=spread_cases,
        mutations=(
            Mutation("one too many", "i >= chosen", "i > chosen", "bounds"),
            Mutation("not spread", "gradient[place] = grad[i]", "gradient[i] = grad[i]", "value"),
            Mutation("all to one place", "gradient[place] = grad[i]", "gradient[0] = grad[i]", "race"),
        ),
    ),
]
