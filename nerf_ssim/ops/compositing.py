"""Volume compositing of packed samples: weights along each ray, and sums over it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nerf_ssim.ops.calls import GradientCall
from nerf_ssim.ops.declaration import Op, declare
from nerf_ssim.ops.example_values import offsets, ray_index, uniform
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
        ValueError: offsets that do not cover the samples. On a GPU nobody looks at their values, which would make the
            host wait; its kernels leave out what would lie outside the samples.
    Source: Max 1995, eq. 3; the published TensoRF adds 1e-10 to each factor, kept here.
    """
    if sigma.dim() != 1 or sigma.shape != delta.shape:
        raise ValueError(f"sigma and delta: expected two [samples], not {tuple(sigma.shape)} and {tuple(delta.shape)}")
    check_offsets(ray_offsets, len(sigma))
    return Composited(*COMPOSITE(sigma, delta, ray_offsets, distance_scale))


def accumulate(weights: Tensor, values: Tensor, ray_index: Tensor, n_rays: int) -> Tensor:
    """Weighted sum of the samples' values over each ray.

    Args:
        weights: `[n]`, any selection of packed samples.
        values: `[n, C]`.
        ray_index: the ray of each, `[n]` int64 in [0, n_rays).
        n_rays: how many rays there are.
    Returns:
        `[n_rays, C]`, zero for a ray without samples; differentiable in `weights` and `values`. On a GPU it is added up
        with atomics, in a fixed order under `torch.use_deterministic_algorithms`.
    Raises:
        ValueError: shapes that disagree.
        RuntimeError: a ray that does not exist, on the CPU; on a GPU its samples are left out, unseen by the host.
    """
    if weights.dim() != 1 or values.dim() != 2 or not len(weights) == len(values) == len(ray_index):
        shapes = f"{tuple(weights.shape)}, {tuple(values.shape)}, {tuple(ray_index.shape)}"
        raise ValueError(f"weights, values, ray_index: expected [n], [n, C], [n], not {shapes}")
    return ACCUMULATE(weights, values, ray_index, n_rays)


def check_offsets(ray_offsets: Tensor, n_samples: int) -> None:
    """Raises ValueError unless `ray_offsets` `[R + 1]` int64 ascend from 0 to `n_samples`.

    Beyond the CPU only its form is checked: reading the values would wait for the device at every call. So it is in a
    compiled call, which has no values while it is traced; the native operators look at them.
    """
    if ray_offsets.dim() != 1 or len(ray_offsets) < 1 or ray_offsets.dtype != torch.int64:
        raise ValueError("ray_offsets: expected [rays + 1] int64")
    if ray_offsets.device.type != "cpu" or torch.compiler.is_compiling():
        return
    first, last = int(ray_offsets[0]), int(ray_offsets[-1])
    if first != 0 or last != n_samples or bool((ray_offsets[1:] < ray_offsets[:-1]).any()):
        raise ValueError(f"ray_offsets: must ascend from 0 to {n_samples} samples, not from {first} to {last}")


def _composite_shapes(sigma: Tensor, delta: Tensor, ray_offsets: Tensor, distance_scale: float) -> tuple[Tensor, ...]:
    return sigma.new_empty(sigma.shape), sigma.new_empty(ray_offsets.shape[0] - 1), sigma.new_empty(sigma.shape)


def _composite_gradient(call: GradientCall) -> Sequence[Tensor]:
    sigma, delta, ray_offsets, distance_scale = call.args
    (light,) = call.kept
    backward = torch.ops.nerf_ssim.composite_backward
    return (backward(*call.upstream, sigma, delta, ray_offsets, light, distance_scale),)


def _composite_examples() -> Iterator[tuple[Any, ...]]:
    for counts in ([5, 0, 1, 30, 0], [2], [7, 3]):
        delta = uniform(sum(counts), high=0.02, seed=1)
        yield uniform(sum(counts), low=-4, high=5).exp(), delta, offsets(counts), 25.0


def _accumulate_gradient(call: GradientCall) -> Sequence[Tensor]:
    return torch.ops.nerf_ssim.accumulate_backward(*call.upstream, *call.args[:3])


def _accumulate_examples() -> Iterator[tuple[Any, ...]]:
    for counts, channels in (([5, 0, 1, 30, 0], 3), ([2], 1), ([7, 3], 7)):
        yield uniform(sum(counts)), uniform(sum(counts), channels, low=-1), ray_index(counts), len(counts)


COMPOSITE = declare(
    Op(
        name="composite",
        operators={
            "composite(Tensor sigma, Tensor delta, Tensor ray_offsets, float distance_scale)"
            " -> (Tensor, Tensor, Tensor)": _composite_shapes,
            "composite_backward(Tensor? grad_weights, Tensor? grad_opacity, Tensor? grad_transmittance, Tensor sigma,"
            " Tensor delta, Tensor ray_offsets, Tensor transmittance, float distance_scale) -> Tensor": (
                lambda of_weights, of_opacity, of_light, sigma, *_: sigma.new_empty(sigma.shape)
            ),
        },
        reference=reference.composite,
        differentiable=("sigma",),
        gradient=_composite_gradient,
        results=3,
        keeps=(2,),
        examples=_composite_examples,
    )
)
ACCUMULATE = declare(
    Op(
        name="accumulate",
        operators={
            "accumulate(Tensor weights, Tensor values, Tensor ray_index, SymInt n_rays) -> Tensor": (
                lambda weights, values, ray_index, n_rays: values.new_empty(n_rays, values.shape[1])
            ),
            "accumulate_backward(Tensor grad, Tensor weights, Tensor values, Tensor ray_index) -> (Tensor, Tensor)": (
                lambda grad, weights, values, *_: (weights.new_empty(weights.shape), values.new_empty(values.shape))
            ),
        },
        reference=reference.accumulate,
        differentiable=("weights", "values"),
        gradient=_accumulate_gradient,
        examples=_accumulate_examples,
    )
)
