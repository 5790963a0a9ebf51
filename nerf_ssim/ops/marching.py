"""Ray marching: the samples of each ray that are worth evaluating, packed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nerf_ssim.ops.declaration import Op, declare
from nerf_ssim.ops.example_values import uniform
from nerf_ssim.ops.reference import marching as reference


class Samples(NamedTuple):
    """Packed samples of a batch of rays, in the order of the rays and of distance along each."""

    coords: Tensor
    """Position in the box, each axis in [-1, 1], `[S, 3]`."""
    t: Tensor
    """Distance from the ray's origin, `[S]`, scene units."""
    delta: Tensor
    """Length that the sample stands for, `[S]`: the step, 0 for the last of the ray's `n_samples` places."""
    ray_index: Tensor
    """The ray of each sample, `[S]` int64."""
    ray_offsets: Tensor
    """Where each ray's samples start, `[R + 1]` int64; the last entry is S."""


class OccupancyGrid:
    """Which part of a box may hold matter: a boolean volume, looked up by trilinear interpolation.

    Args:
        volume: `[nx, ny, nz]`, non-zero where occupied; values sit on the nodes, corners aligned with the box.
        aabb: the volume's own box, `[2, 3]`, world units.
    Raises:
        ValueError: a volume or box of another shape.
    """

    def __init__(self, volume: Tensor, aabb: Tensor) -> None:
        if volume.dim() != 3 or aabb.shape != (2, 3):
            raise ValueError(f"expected a volume [nx, ny, nz] and an aabb [2, 3], not {volume.shape}, {aabb.shape}")
        self.volume = volume.ne(0)
        self.aabb = aabb.detach().clone()

    @cached_property
    def corner_bits(self) -> Tensor:
        """For each cell, which of its eight corners are occupied, one bit each; see `reference.corner_bits`."""
        return reference.corner_bits(self.volume)

    def occupied(self, xyz: Tensor) -> Tensor:
        """Whether the interpolated volume is positive at world points `[n, 3]`: `[n]` bool, false outside the box."""
        return reference.occupied(self.corner_bits, self.aabb, xyz)


def march_box(
    origins: Tensor,
    directions: Tensor,
    aabb: Tensor,
    near: float,
    far: float,
    step_size: float,
    n_samples: int,
    jitter: Tensor | None = None,
    occupancy: OccupancyGrid | None = None,
) -> Samples:
    """Equidistant samples of each ray from its entry into the box, those in the box and in occupied space.

    Args:
        origins, directions: `[R, 3]`, world units, directions of unit length.
        aabb: the box, `[2, 3]`, lower and upper corner.
        near, far: the entry distance is clamped to [near, far]; `far` limits nothing else.
        step_size: distance between samples, scene units.
        n_samples: places on each ray; sample k lies at `entry + step_size * (k + jitter)`.
        jitter: `[R]`, one shift in [0, 1) a ray, or None for no shift.
        occupancy: where given, samples at which it is not positive are left out.
    Returns:
        `Samples`, which count as constants.
    Raises:
        ValueError: shapes that disagree.
        DerivativeError: a gradient is wanted in one of the tensors.
    Source: TensoRF's ray sampling, in packed form.
    """
    if origins.shape != directions.shape or origins.dim() != 2 or origins.shape[1] != 3:
        shapes = f"{tuple(origins.shape)} and {tuple(directions.shape)}"
        raise ValueError(f"origins and directions: expected two [R, 3], not {shapes}")
    if aabb.shape != (2, 3):
        raise ValueError(f"aabb: expected [2, 3], not {tuple(aabb.shape)}")
    if jitter is not None and jitter.shape != origins.shape[:1]:
        raise ValueError(f"jitter: expected [{len(origins)}], not {tuple(jitter.shape)}")
    bits = None if occupancy is None else occupancy.corner_bits
    bits_aabb = None if occupancy is None else occupancy.aabb
    rays = origins, directions, aabb
    return Samples(*MARCH_BOX(*rays, near, far, step_size, n_samples, jitter, bits, bits_aabb))


def _shapes_only(origins: Tensor, *_: object) -> tuple[Tensor, ...]:
    """Output shapes of the native operator: the number of samples is known only when it runs."""
    samples = torch.library.get_ctx().new_dynamic_size()
    return (
        origins.new_empty(samples, 3),
        origins.new_empty(samples),
        origins.new_empty(samples),
        origins.new_empty(samples, dtype=torch.int64),
        origins.new_empty(origins.shape[0] + 1, dtype=torch.int64),
    )


def _examples() -> Iterator[tuple[Any, ...]]:
    aabb = torch.tensor([[-1.0, -1.5, -1.0], [1.0, 1.5, 0.5]])
    volume = uniform(5, 4, 6, seed=3) > 0.6
    for rays, has_occupancy in ((17, True), (1, False), (40, False)):
        origins = uniform(rays, 3, low=-3, high=3)
        directions = torch.nn.functional.normalize(uniform(rays, 3, low=-0.5, high=0.5, seed=1) - origins, dim=1)
        jitter = uniform(rays, seed=2) if has_occupancy else None
        occupancy = (reference.corner_bits(volume), aabb * 0.9) if has_occupancy else (None, None)
        yield origins, directions, aabb, 0.1, 6.0, 0.25, 30, jitter, *occupancy


MARCH_BOX = declare(
    Op(
        name="march_box",
        operators={
            "march_box(Tensor origins, Tensor directions, Tensor aabb, float near, float far, float step_size, int"
            " n_samples, Tensor? jitter, Tensor? bits, Tensor? bits_aabb)"
            " -> (Tensor, Tensor, Tensor, Tensor, Tensor)": _shapes_only,
        },
        reference=reference.march_box,
        results=5,
        is_constant=True,
        examples=_examples,
    )
)
