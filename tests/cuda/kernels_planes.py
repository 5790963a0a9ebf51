"""Total variation and resampling: cases against float64 autograd of the reference, and planted defects."""

from __future__ import annotations

import numpy as np
import torch
from simulator import Case, Kernel, Mutation, single, unwritten

from nerf_ssim.ops.reference.resize import resize_plane
from nerf_ssim.ops.reference.total_variation import planes_tv

PARTIAL_SUMS = 1024  # a plane, scratch that launch_planes_tv wants
MOST_PLANES = 3
FACTORS = (1e-2, 0.5)
# Channels in fours and single, several turns of a block along a row, a line, sides of length one; three planes of
# different sizes together, of which one is not in fours.
SETS = [
    ((7, 5, 16), (3, 90, 12), (5, 6, 8)),
    ((5, 6, 3),),
    ((37, 1, 4), (1, 9, 2)),
    ((1, 1, 5), (2, 1, 1), (4, 3, 4)),
]
MOST_BLOCKS = ((1030, 2, 1), (3, 2, 1))  # more rows than blocks


def random_plane(shape: tuple[int, int, int]) -> torch.Tensor:
    """Float64 values that float32 holds exactly."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(shape[1])).double()


def as_struct(plane: torch.Tensor) -> dict:
    """A plane as the launchers take it."""
    return {"values": single(plane), **dict(zip(("n_v", "n_u", "channels"), plane.shape, strict=True))}


def padded(values: list, nothing: object) -> tuple:
    """The values as an array in the launchers' structs, which always have places for three planes."""
    return (*values, *[nothing] * (MOST_PLANES - len(values)))


def planes_struct(planes: list[torch.Tensor]) -> dict:
    """Planes and factors as the launchers take them."""
    return {
        "values": padded([single(plane) for plane in planes], None),
        **{
            name: padded([plane.shape[side] for plane in planes], 0)
            for side, name in enumerate(("n_v", "n_u", "channels"))
        },
        "count": len(planes),
        "first_factor": FACTORS[0],
        "second_factor": FACTORS[1],
    }


def forward_cases() -> list[Case]:
    """Every set of planes; one of them with more rows than a launch has blocks."""
    cases = []
    for shapes in [*SETS, MOST_BLOCKS]:
        planes = [random_plane(shape) for shape in shapes]
        cases.append(
            Case(
                name=" ".join(map(str, shapes)),
                launcher="launch_planes_tv",
                arguments={
                    "planes": planes_struct(planes),
                    "partial_sums": unwritten(MOST_PLANES * PARTIAL_SUMS),
                    "out": unwritten(1),
                },
                expected={"out": planes_tv(planes, FACTORS).reshape(1).numpy()},
                elements=sum(plane.numel() for plane in planes) if shapes == SETS[0] else 0,
                floor=(4, 0),
            )
        )
    return cases


def backward_cases() -> list[Case]:
    """Every set of planes, with an upstream gradient that is not one."""
    cases = []
    for shapes in SETS:
        planes = [random_plane(shape).requires_grad_() for shape in shapes]
        (planes_tv(planes, FACTORS) * -0.75).backward()
        cases.append(
            Case(
                name=" ".join(map(str, shapes)),
                launcher="launch_planes_tv_backward",
                arguments={
                    "planes": planes_struct(planes),
                    "scale": np.array([-0.75], dtype=np.float32),
                    "gradients": {"values": padded([unwritten(*shape) for shape in shapes], None)},
                },
                expected={"gradients": {"values": tuple(plane.grad.numpy() for plane in planes)}},
                elements=sum(plane.numel() for plane in planes) if shapes == SETS[0] else 0,
                floor=(4, 4),
            )
        )
    return cases


def resize_cases() -> list[Case]:
    """Larger, smaller, the same, one node; channels in fours and single."""
    cases = []
    for shape, to in [
        ((5, 7, 16), (9, 13)),
        ((6, 4, 3), (3, 90)),
        ((4, 1, 8), (7, 1)),
        ((3, 2, 5), (1, 1)),
        ((1, 1, 4), (2, 3)),
    ]:
        plane = random_plane(shape)
        cases.append(
            Case(
                name=f"{shape} to {to}",
                launcher="launch_resize_plane",
                arguments={
                    "plane": as_struct(plane),
                    "n_v": to[0],
                    "n_u": to[1],
                    "out": unwritten(*to, shape[2]),
                },
                expected={"out": resize_plane(plane, to).numpy()},
                tolerance=1e-5,
                elements=to[0] * to[1] * shape[2] if to == (9, 13) else 0,
                floor=(4 * 35 / 117, 4),
            )
        )
    return cases


KERNELS = [
    Kernel(
        name="planes_tv",
        source="planes.cu",
        what="Total variation of a grid's planes or lines, together. A block owns every so many rows of a plane, its "
        "threads go along them four channels at a time and read each value with its neighbours at larger u and v, "
        "which the caches hold. One float a block goes to scratch and a second kernel adds those in a fixed order, so "
        "there are no atomics.",
        entries=("planes_tv<4>", "planes_tv<1>", "add_planes"),
        cases=forward_cases,
        mutations=(
            Mutation(
                "no difference across the last but one column",
                "if (i + plane.channels < row) along_u",
                "if (i + 2 * plane.channels < row) along_u",
                "value",
            ),
            Mutation(
                "a row below the plane is read",
                "if (v + 1 < plane.n_v) along_v",
                "if (v < plane.n_v) along_v",
                "bounds",
            ),
            Mutation(
                "the counts of the sides swapped",
                "factors.along_u[blockIdx.y] * along_u + factors.along_v[blockIdx.y] * along_v",
                "factors.along_v[blockIdx.y] * along_u + factors.along_u[blockIdx.y] * along_v",
                "value",
            ),
            Mutation(
                "counts of the first plane for all",
                "factors.along_u[blockIdx.y] * along_u",
                "factors.along_u[0] * along_u",
                "value",
            ),
            Mutation(
                "second factor forgotten",
                "__fmul_rn(__fmul_rn(total, first_factor), second_factor)",
                "__fmul_rn(total, first_factor)",
                "value",
            ),
            Mutation(
                "every plane's sums in one place", "blockIdx.y * kPlaneTvPartialSums + blockIdx.x", "blockIdx.x", "race"
            ),
            Mutation(
                "sums of warps written too early",
                "    __syncthreads();  // before the warps' sums",
                "    // before the warps' sums",
                "race",
            ),
            Mutation(
                "no barrier before the warps are added",
                "  __syncthreads();\n  if (thread >= kWarpLanes)",
                "  if (thread >= kWarpLanes)",
                "race",
                "warp.cuh",
            ),
        ),
    ),
    Kernel(
        name="planes_tv_backward",
        source="planes.cu",
        what="Its gradient. One thread owns four channels of a node and adds what the four neighbours pull; the "
        "upstream gradient is read from the device, so that the host need not wait for it.",
        entries=("planes_tv_backward<4>", "planes_tv_backward<1>"),
        cases=backward_cases,
        mutations=(
            Mutation(
                "a column before the first is read",
                "if (i >= plane.channels) pull",
                "if (i + 1 >= plane.channels) pull",
                "value",
            ),
            Mutation("a row above the plane is read", "if (v > 0) pull", "if (v >= 0) pull", "bounds"),
            Mutation(
                "stride of a row taken for that of a column",
                "load<kWidth>(at - plane.channels), of_u",
                "load<kWidth>(at - min(row, i)), of_u",
                "value",
            ),
            Mutation(
                "upstream gradient forgotten",
                "__fmul_rn(*upstream, planes.second_factor)",
                "planes.second_factor",
                "value",
            ),
            Mutation(
                "all gradients in the first plane's", "gradients.values[blockIdx.y]", "gradients.values[0]", "value"
            ),
        ),
    ),
    Kernel(
        name="resize_plane",
        source="planes.cu",
        what="Bilinear resampling, corners aligned. A block owns rows of the new plane, one thread four channels of "
        "a node, and reads the four old nodes around it.",
        entries=("resize_plane<4>", "resize_plane<1>"),
        cases=resize_cases,
        mutations=(
            Mutation("a node beyond the last", "min(near + 1, nodes - 1)", "near + 1", "bounds"),
            Mutation(
                "corners not aligned",
                "static_cast<float>(nodes - 1) / static_cast<float>(places - 1)",
                "static_cast<float>(nodes) / static_cast<float>(places)",
                "value",
            ),
            Mutation(
                "weights of rows and columns swapped",
                "(1.0f - rows.fraction) * near + rows.fraction * far",
                "(1.0f - columns.fraction) * near + columns.fraction * far",
                "value",
            ),
            Mutation(
                "row stride of the old plane",
                "store(out + v * to_row + i, value)",
                "store(out + v * row + i, value)",
                "value",
            ),
        ),
    ),
]
