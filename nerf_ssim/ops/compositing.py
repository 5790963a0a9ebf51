"""Volume compositing of packed samples: weights along each ray, and sums over it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from nerf_ssim.ops import backend
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
    wants_delta_gradient = delta.requires_grad and torch.is_grad_enabled()  # the kernel knows only that of sigma
    if wants_delta_gradient or backend.implementation("composite", sigma, delta, ray_offsets) == "reference":
        return Composited(*reference.composite(sigma, delta, ray_offsets, distance_scale))
    return Composited(*torch.ops.nerf_ssim.composite(sigma, delta, ray_offsets, distance_scale))


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
    if backend.implementation("accumulate", weights, values, ray_index) == "reference":
        return reference.accumulate(weights, values, ray_index, n_rays)
    return torch.ops.nerf_ssim.accumulate(weights, values, ray_index, n_rays)


def check_offsets(ray_offsets: Tensor, n_samples: int) -> None:
    """Raises ValueError unless `ray_offsets` `[R + 1]` int64 ascend from 0 to `n_samples`.

    Beyond the CPU only its form is checked: reading the values would wait for the device at every call.
    """
    if ray_offsets.dim() != 1 or len(ray_offsets) < 1 or ray_offsets.dtype != torch.int64:
        raise ValueError("ray_offsets: expected [rays + 1] int64")
    if ray_offsets.device.type != "cpu":
        return
    first, last = int(ray_offsets[0]), int(ray_offsets[-1])
    if first != 0 or last != n_samples or bool((ray_offsets[1:] < ray_offsets[:-1]).any()):
        raise ValueError(f"ray_offsets: must ascend from 0 to {n_samples} samples, not from {first} to {last}")


def _register_composite() -> None:
    """Tell PyTorch the shapes of the native operators and that one is the gradient of the other."""

    def shapes(sigma: Tensor, delta: Tensor, ray_offsets: Tensor, distance_scale: float) -> tuple[Tensor, ...]:
        return sigma.new_empty(sigma.shape), sigma.new_empty(ray_offsets.shape[0] - 1), sigma.new_empty(sigma.shape)

    def save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        sigma, delta, ray_offsets, ctx.distance_scale = inputs
        ctx.save_for_backward(sigma, delta, ray_offsets, output[2])
        ctx.set_materialize_grads(False)

    def differentiate(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if all(grad is None for grad in grads):
            return None, None, None, None
        saved = ctx.saved_tensors
        return torch.ops.nerf_ssim.composite_backward(*grads, *saved, ctx.distance_scale), None, None, None

    def backward_shape(grad_weights: Any, grad_opacity: Any, grad_light: Any, sigma: Tensor, *_: Any) -> Tensor:
        return sigma.new_empty(sigma.shape)

    torch.library.register_fake("nerf_ssim::composite", shapes)
    torch.library.register_fake("nerf_ssim::composite_backward", backward_shape)
    torch.library.register_autograd("nerf_ssim::composite", differentiate, setup_context=save)


def _register_accumulate() -> None:
    """The same for `accumulate`."""

    def shape(weights: Tensor, values: Tensor, ray_index: Tensor, n_rays: int) -> Tensor:
        return values.new_empty(n_rays, values.shape[1])

    def save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:3])

    def differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *torch.ops.nerf_ssim.accumulate_backward(grad, *ctx.saved_tensors), None, None

    def backward_shapes(grad: Tensor, weights: Tensor, values: Tensor, ray_index: Tensor) -> tuple[Tensor, Tensor]:
        return weights.new_empty(weights.shape), values.new_empty(values.shape)

    torch.library.register_fake("nerf_ssim::accumulate", shape)
    torch.library.register_fake("nerf_ssim::accumulate_backward", backward_shapes)
    torch.library.register_autograd("nerf_ssim::accumulate", differentiate, setup_context=save)


if backend.declare("composite"):
    _register_composite()
if backend.declare("accumulate"):
    _register_accumulate()
