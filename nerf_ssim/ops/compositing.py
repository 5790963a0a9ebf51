"""Volume compositing of packed samples: weights along each ray, and sums over it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nerf_ssim.ops.reference import compositing as reference


class Composited(NamedTuple):
    """What compositing knows of each sample and each ray."""

    weights: Tensor
    """Share of the ray's light that the sample contributes, `[samples]`."""
    opacity: Tensor
    """Sum of the weights of each ray, `[rays]`."""
    transmittance: Tensor
    """Light that reaches the sample, `[samples]`."""


def composite(sigma: Tensor, delta: Tensor, ray_offsets: Tensor, *, distance_scale: float = 1.0) -> Composited:
    """Opacity and weights of packed samples along each ray.

    Args:
        sigma: density, `[samples]`, >= 0, per unit length.
        delta: distance to the next sample on the ray, `[samples]`, scene units; 0 for a ray's last.
        ray_offsets: where each ray's samples start, `[rays + 1]`, int64, ascending, last = samples.
        distance_scale: factor on every distance (TensoRF uses 25).
    Returns:
        `Composited(weights [samples], opacity [rays], transmittance [samples])`, differentiable in `sigma`.
    Raises:
        ValueError: offsets that do not cover the samples.
    Source: Max 1995, eq. 3; the published TensoRF adds 1e-10 to each factor, kept here.
    """
    if sigma.dim() != 1 or sigma.shape != delta.shape:
        raise ValueError(f"sigma and delta: expected two [samples], not {tuple(sigma.shape)} and {tuple(delta.shape)}")
    _check_offsets(ray_offsets, len(sigma))
    return Composited(*reference.composite(sigma, delta, ray_offsets, distance_scale))


def accumulate(weights: Tensor, values: Tensor, ray_index: Tensor, n_rays: int) -> Tensor:
    """Weighted sum of the samples' values over each ray.

    Args:
        weights: `[n]`, any selection of packed samples.
        values: `[n, C]`.
        ray_index: the ray of each, `[n]` int64 in [0, n_rays).
        n_rays: how many rays there are.
    Returns:
        `[n_rays, C]`, zero for a ray without samples; differentiable in `weights` and `values`.
    Raises:
        ValueError: shapes that disagree.
    """
    if weights.dim() != 1 or values.dim() != 2 or not len(weights) == len(values) == len(ray_index):
        shapes = f"{tuple(weights.shape)}, {tuple(values.shape)}, {tuple(ray_index.shape)}"
        raise ValueError(f"weights, values, ray_index: expected [n], [n, C], [n], not {shapes}")
    return reference.accumulate(weights, values, ray_index, n_rays)


def _check_offsets(ray_offsets: Tensor, n_samples: int) -> None:
    if ray_offsets.dim() != 1 or len(ray_offsets) < 1 or ray_offsets.dtype != torch.int64:
        raise ValueError("ray_offsets: expected [rays + 1] int64")
    first, last = int(ray_offsets[0]), int(ray_offsets[-1])
    if first != 0 or last != n_samples or bool((ray_offsets[1:] < ray_offsets[:-1]).any()):
        raise ValueError(f"ray_offsets: must ascend from 0 to {n_samples} samples, not from {first} to {last}")
