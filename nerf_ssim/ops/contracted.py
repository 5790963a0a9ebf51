"""Ray marching through contracted space: all that lies beyond the unit ball, drawn into a thin shell around it.

Source: Sun et al. 2022, "Improved Direct Voxel Grid Optimization for Radiance Fields Reconstruction", section 4, with
the Euclidean norm; the contraction is that of Barron et al. 2022, "Mip-NeRF 360", equation 10, with a thinner shell.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nerf_ssim.ops.declaration import Op, declare
from nerf_ssim.ops.example_values import uniform
from nerf_ssim.ops.reference import contracted as reference


class ContractedSamples(NamedTuple):
    """Packed samples of a batch of rays, in the order of the rays and of distance along each."""

    coords: Tensor
    """Contracted position, each axis in [-1, 1] of the box that holds the shell, `[S, 3]`."""
    t: Tensor
    """Distance from the ray's origin before contraction, `[S]`, in radii of the unit ball."""
    ray_index: Tensor
    """The ray of each sample, `[S]` int64."""
    ray_offsets: Tensor
    """Where each ray's samples start, `[R + 1]` int64; the last entry is S."""


def march_contracted(
    origins: Tensor,
    directions: Tensor,
    t: Tensor,
    *,
    bg_len: float,
    min_distance: float,
    mask: Tensor | None = None,
) -> ContractedSamples:
    """Samples at the same distances on every ray, contracted and thinned.

    Args:
        origins: `[R, 3]`, relative to the unit ball: (o - centre) / radius.
        directions: `[R, 3]`, unit length.
        t: distances of the places along each ray, `[P]`, ascending.
        bg_len: thickness of the shell: p with |p| > 1 moves to p / |p| * (1 + bg_len - bg_len / |p|).
        min_distance: of the places outside the unit ball only those are kept at which the contracted distance,
            accumulated since the last such, exceeds this; it accumulates inside the ball too. Inside all are kept.
        mask: `[X, Y, Z]` bool over the box of half side 1 + bg_len; where given, samples whose nearest node holds
            False are left out.
    Returns:
        `ContractedSamples`, which count as constants.
    Raises:
        ValueError: shapes that disagree.
        DerivativeError: a gradient is wanted in one of the tensors.
    """
    if origins.shape != directions.shape or origins.dim() != 2 or origins.shape[1] != 3:
        shapes = f"{tuple(origins.shape)} and {tuple(directions.shape)}"
        raise ValueError(f"origins and directions: expected two [R, 3], not {shapes}")
    if t.dim() != 1:
        raise ValueError(f"t: expected [P], not {tuple(t.shape)}")
    if mask is not None and (mask.dim() != 3 or mask.dtype != torch.bool):
        raise ValueError(f"mask: expected [X, Y, Z] bool, not {tuple(mask.shape)} {mask.dtype}")
    return ContractedSamples(*MARCH_CONTRACTED(origins, directions, t, bg_len, min_distance, mask))


def _shapes_only(origins: Tensor, *_: object) -> tuple[Tensor, ...]:
    """Output shapes of the native operator: the number of samples is known only when it runs."""
    samples = torch.library.get_ctx().new_dynamic_size()
    return (
        origins.new_empty(samples, 3),
        origins.new_empty(samples),
        origins.new_empty(samples, dtype=torch.int64),
        origins.new_empty(origins.shape[0] + 1, dtype=torch.int64),
    )


def _examples() -> Iterator[tuple[Any, ...]]:
    mask = uniform(6, 5, 7, seed=3) > 0.4
    for rays, places, kept in ((17, 40, mask), (1, 9, None), (30, 25, None)):
        origins = uniform(rays, 3, low=-0.4, high=0.4)
        directions = torch.nn.functional.normalize(uniform(rays, 3, low=-1, seed=1), dim=1)
        yield origins, directions, torch.linspace(0.05, 3.0, places), 0.2, 0.02, kept


MARCH_CONTRACTED = declare(
    Op(
        name="march_contracted",
        operators={
            "march_contracted(Tensor origins, Tensor directions, Tensor t, float bg_len, float min_distance, Tensor?"
            " mask) -> (Tensor, Tensor, Tensor, Tensor)": _shapes_only,
        },
        reference=reference.march_contracted,
        results=4,
        is_constant=True,
        examples=_examples,
    )
)
