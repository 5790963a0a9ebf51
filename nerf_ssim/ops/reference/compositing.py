"""Specification of volume compositing over packed samples.

Source: Max 1995, "Optical models for direct volume rendering", eq. 3; the 1e-10 in each factor is TensoRF's.
"""

from __future__ import annotations

import torch
from torch import Tensor

FACTOR_FLOOR = 1e-10  # added to each 1 - alpha, so that a fully opaque sample leaves a trace of light
_PADDED_ELEMENTS = 1 << 23  # rays are padded in chunks of about this many entries


def ray_index_of(ray_offsets: Tensor) -> Tensor:
    """The ray of each packed sample, `[S]` int64, from `ray_offsets` `[R + 1]`."""
    rays = torch.arange(len(ray_offsets) - 1, device=ray_offsets.device)
    return rays.repeat_interleave(ray_offsets.diff())


def composite(
    sigma: Tensor, delta: Tensor, ray_offsets: Tensor, distance_scale: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights `[S]`, opacity `[R]` and transmittance `[S]`: alpha = 1 - exp(-sigma delta scale), w = alpha T."""
    alpha = -torch.expm1(-sigma * delta * distance_scale)
    ray_index = ray_index_of(ray_offsets)
    transmittance = exclusive_product(1 - alpha + FACTOR_FLOOR, ray_index, ray_offsets)
    weights = alpha * transmittance
    opacity = weights.new_zeros(len(ray_offsets) - 1).index_add(0, ray_index, weights)
    return weights, opacity, transmittance


def exclusive_product(factor: Tensor, ray_index: Tensor, ray_offsets: Tensor) -> Tensor:
    """Product of the factors of all earlier samples of the same ray."""
    if not len(factor):
        return factor.clone()
    n_rays = len(ray_offsets) - 1
    longest = int(ray_offsets.diff().max())
    rays_per_chunk = max(1, _PADDED_ELEMENTS // longest)
    place = torch.arange(len(factor), device=factor.device) - ray_offsets[ray_index]
    parts = []
    for first in range(0, n_rays, rays_per_chunk):
        last = min(first + rays_per_chunk, n_rays)
        packed = slice(int(ray_offsets[first]), int(ray_offsets[last]))
        row, column = ray_index[packed] - first, place[packed]
        padded = factor.new_ones(last - first, longest + 1).index_put((row, column + 1), factor[packed])
        parts.append(padded.cumprod(1)[row, column])
    return torch.cat(parts)


def accumulate(weights: Tensor, values: Tensor, ray_index: Tensor, n_rays: int) -> Tensor:
    """Sum of `weights[i] * values[i]` over the samples of each ray, `[n_rays, C]`."""
    return values.new_zeros(n_rays, values.shape[1]).index_add(0, ray_index, weights[:, None] * values)
