"""DVGO's compositing of packed samples, with its early stop, and the distortion loss of the weights.

Source: Sun et al. 2022, "Direct Voxel Grid Optimization", section 3.2 and its published thresholds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from nerf_ssim.ops import backend
from nerf_ssim.ops.compositing import check_offsets
from nerf_ssim.ops.reference import alpha_compositing as reference


class AlphaComposited(NamedTuple):
    """What compositing knows of each sample and each ray."""

    weights: Tensor
    """Share of the ray's light that the sample contributes, `[S]`."""
    background: Tensor
    """Light that is left where the ray ends or compositing stopped, `[R]`."""


def voxel_alpha(density: Tensor, *, shift: float, interval: float) -> Tensor:
    """Opacity of a step through a voxel grid: `1 - (1 + exp(density + shift))^(-interval)`.

    Args:
        density: raw values of the density grid, any shape.
        shift: added to each; log(1 / (1 - a) - 1) makes a density of 0 an opacity of a.
        interval: length of the step, in voxels of the base resolution.
    Returns:
        Opacities in [0, 1] of the same shape, differentiable; small ones keep their digits.
    """
    return reference.voxel_alpha(density, shift, interval)


def composite_voxels(
    density: Tensor,
    ray_offsets: Tensor,
    *,
    shift: float,
    interval: float,
    alpha_threshold: float = 0.0,
    stop: float = 1e-3,
) -> AlphaComposited:
    """Weights of packed samples along each ray, from raw densities.

    Each sample in order takes its opacity's share of the light that reaches it; the first after which less than
    `stop` is left is the ray's last.

    Args:
        density: raw values of the density grid at the samples, `[S]`.
        ray_offsets: where each ray's samples start, `[R + 1]`, int64, ascending, last = S.
        shift, interval: as for `voxel_alpha`.
        alpha_threshold: samples of at most this opacity count as empty: weight 0, no gradient.
        stop: see above; later samples have weight 0 and no gradient, and `background` is the light left there.
    Returns:
        `AlphaComposited(weights [S], background [R])`, both differentiable in `density`; the background of a ray
        without samples is 1.
    Raises:
        ValueError: offsets that do not cover the samples.
    """
    if density.dim() != 1:
        raise ValueError(f"density: expected [S], not {tuple(density.shape)}")
    check_offsets(ray_offsets, len(density))
    inputs = (density, ray_offsets, shift, interval, alpha_threshold, stop)
    if backend.implementation("composite_voxels", density, ray_offsets) == "reference":
        return AlphaComposited(*reference.composite_voxels(*inputs))
    return AlphaComposited(*torch.ops.nerf_ssim.composite_voxels(*inputs))


def distortion_loss(weights: Tensor, s: Tensor, ray_index: Tensor, interval: float) -> Tensor:
    """How spread out the weights of each ray are, in linear time.

    Args:
        weights: `[n]`, any selection of packed samples.
        s: their places along the ray in [0, 1], ascending along each ray, `[n]`.
        ray_index: the ray of each, `[n]` int64, ascending.
        interval: length in `s` that a sample stands for.
    Returns:
        The scalar `sum_i (2 w_i sum_{j < i} w_j (s_i - s_j) + interval / 3 * w_i^2) / (ray_index[-1] + 1)`, j over the
        earlier samples of the same ray, differentiable in `weights`; 0 for no samples.
    Raises:
        ValueError: shapes that disagree.
    Source: Barron et al. 2022, "Mip-NeRF 360", equation 15; the mean is over rays up to the last that has a sample.
    """
    if weights.dim() != 1 or not weights.shape == s.shape == ray_index.shape or ray_index.dtype != torch.int64:
        shapes = f"{tuple(weights.shape)}, {tuple(s.shape)}, {tuple(ray_index.shape)} {ray_index.dtype}"
        raise ValueError(f"weights, s, ray_index: expected three [n], the last int64, not {shapes}")
    wants_other_gradient = s.requires_grad and torch.is_grad_enabled()  # the kernel knows only that of the weights
    if wants_other_gradient or backend.implementation("distortion_loss", weights, s, ray_index) == "reference":
        return reference.distortion_loss(weights, s, ray_index, interval)
    return torch.ops.nerf_ssim.distortion_loss(weights, s, ray_index, interval)[0]


def _register_composite_voxels() -> None:
    """Tell PyTorch the shapes of the native operators and that one is the gradient of the other."""

    def shapes(density: Tensor, ray_offsets: Tensor, *_: float) -> tuple[Tensor, Tensor]:
        return density.new_empty(density.shape), density.new_empty(ray_offsets.shape[0] - 1)

    def save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        density, ray_offsets, *ctx.constants = inputs
        ctx.save_for_backward(density, ray_offsets)
        ctx.set_materialize_grads(False)

    def differentiate(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if all(grad is None for grad in grads):
            return (None,) * 6
        backward = torch.ops.nerf_ssim.composite_voxels_backward
        return backward(*grads, *ctx.saved_tensors, *ctx.constants), *(None,) * 5

    def backward_shape(grad_weights: Any, grad_background: Any, density: Tensor, *_: Any) -> Tensor:
        return density.new_empty(density.shape)

    torch.library.register_fake("nerf_ssim::composite_voxels", shapes)
    torch.library.register_fake("nerf_ssim::composite_voxels_backward", backward_shape)
    torch.library.register_autograd("nerf_ssim::composite_voxels", differentiate, setup_context=save)


def _register_distortion_loss() -> None:
    """The same for `distortion_loss`, whose second output is the first one's gradient in the weights."""

    def shapes(weights: Tensor, s: Tensor, ray_index: Tensor, interval: float) -> tuple[Tensor, Tensor]:
        return weights.new_empty(()), weights.new_empty(weights.shape)

    def save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(output[1])
        ctx.mark_non_differentiable(output[1])

    def differentiate(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return grad * gradient, None, None, None

    torch.library.register_fake("nerf_ssim::distortion_loss", shapes)
    torch.library.register_autograd("nerf_ssim::distortion_loss", differentiate, setup_context=save)


if backend.declare("composite_voxels"):
    _register_composite_voxels()
if backend.declare("distortion_loss"):
    _register_distortion_loss()
