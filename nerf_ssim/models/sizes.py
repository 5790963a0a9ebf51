"""The least memory that a field's training takes, by its options alone: before a scene is read or a grid is made."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nerf_ssim.memory import BYTES_OF_WEIGHT, Need

__all__ = ["batch_need", "grid_numbers", "grids_need"]

BYTES_OF_SAMPLE = 40  # coordinates, distance, ray, density and weight with their gradients: less than any model keeps
SHARE_IN_BOX = 0.25  # of a ray's places, that are samples at the start of training; a room's have a third and more


def grid_numbers(kind: str, voxels: float, components: Sequence[int], channels: int) -> float:
    """The least numbers in a grid of `voxels`, whatever the proportions of its box: those in a cube.

    Args:
        kind: `vm`, `cp` or `dense`.
        components: of a factorised grid.
        channels: of a dense grid.
    """
    if kind == "dense":
        return voxels * channels
    # The mean of the planes' areas, each as often as it has components, is at least their geometric mean.
    power = 2 / 3 if kind == "vm" else 1 / 3
    return 3 * math.prod(components) ** (1 / len(components)) * voxels**power


def grids_need(voxels: float, numbers: float, lower: Sequence[str]) -> Need:
    """What grids of so many numbers take while they are trained; `lower` are the options that they follow from."""
    return Need(f"a grid of {voxels:,.0f} voxels", BYTES_OF_WEIGHT * numbers, tuple(lower))


def batch_need(rays: int, places: float, lower: Sequence[str]) -> Need:
    """What the samples of a batch take at the start of training, with `places` of samples on each ray."""
    return Need(f"a batch of {rays:,} rays", rays * places * SHARE_IN_BOX * BYTES_OF_SAMPLE, tuple(lower))
