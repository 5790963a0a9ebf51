"""Structural similarity of image planes, and of a stochastic image of rays (S3IM).

The native mean saves each window's partial derivatives for the backward pass unless told to compute them again, the
native S3IM makes its gradient on the way; the maps are pointwise functions of native window means. `clamp_variance`,
types other than float32 and, for S3IM, more than four channels or a target that wants a gradient go to the reference.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nerf_ssim.ops import backend
from nerf_ssim.ops.reference import ssim as reference
from nerf_ssim.ops.ssim_window import SsimWindow

MOST_CHANNELS = 4
"""The most channels that a ray may have in the native S3IM."""


class SsimStatistics(NamedTuple):
    """Means over all windows and channels, detached 0-dim tensors.

    `mean_difference` is the signed mean of mu_x - mu_y, `mean_difference_abs` the mean of its size.
    """

    ssim: Tensor
    luminance: Tensor
    structure: Tensor
    mean_difference: Tensor
    mean_difference_abs: Tensor


class SsimMaps(NamedTuple):
    """One value a window: SSIM = luminance * structure, and mu_x - mu_y."""

    ssim: Tensor
    luminance: Tensor
    structure: Tensor
    mean_difference: Tensor


def ssim_maps(x: Tensor, y: Tensor, window: SsimWindow) -> SsimMaps:
    """The index and its parts, each `[planes, rows, columns]`, differentiable in `x, y [planes, height, width]`."""
    if not window.clamp_variance and backend.implementation("ssim_moments", x, y) == "native":
        moments = torch.ops.nerf_ssim.ssim_moments(x, y, *_places(window))
    else:
        moments = reference.ssim_moments(x, y, window)
    luminance, structure, difference = reference.similarity(moments, window)
    return SsimMaps(luminance * structure, luminance, structure, difference)


def ssim_mean(x: Tensor, y: Tensor, window: SsimWindow, *, recompute: bool = False) -> tuple[Tensor, SsimStatistics]:
    """Mean index of `x, y [planes, height, width]` (0-dim, differentiable in both) and the means of its parts.

    With `recompute` the native forward pass saves no map and the backward pass computes the windows again.
    """
    if not window.clamp_variance and backend.implementation("ssim_mean", x, y) == "native":
        is_wanted = _wants_gradient(x) or _wants_gradient(y)
        if recompute and is_wanted and backend.implementation("ssim_recompute", x, y) == "native":
            mean, statistics = _RecomputedMean.apply(x, y, window)
        else:
            needs = _wants_gradient(x), _wants_gradient(y)
            mean, statistics, _ = torch.ops.nerf_ssim.ssim_mean(x, y, *_places(window), window.c1, window.c2, *needs)
        return mean, SsimStatistics(*statistics.detach().unbind())
    maps = ssim_maps(x, y, window)
    mean = maps.ssim.mean()
    return mean, _statistics(mean, maps)


def s3im(
    rendered: Tensor, target: Tensor, orders: Tensor, patch_height: int, window: SsimWindow
) -> tuple[Tensor, SsimStatistics]:
    """1 - mean SSIM of the stochastic image, and the means of its parts with x the target and y the rendered colours.

    Args:
        rendered, target: colours of the same rays, `[rays, channels]`.
        orders: indices into the rays, `[repeat, rays]`, int64; one order after the other fills the image row by row.
        patch_height: rows of the image, a divisor of the number of rays; it has `repeat * rays / patch_height` columns.
        window: its padding is the same on every side.
    """
    is_servable = (
        not window.clamp_variance
        and window.padding_before == window.padding_after
        and rendered.shape[1] <= MOST_CHANNELS
        and not _wants_gradient(target)
        and backend.implementation("s3im", rendered, target) == "native"
    )
    if is_servable:
        is_differentiated = _wants_gradient(rendered)
        loss, statistics, gradient = torch.ops.nerf_ssim.s3im(
            rendered.detach(),
            target.detach(),
            orders,
            patch_height,
            window.taps,
            window.stride,
            window.padding_before,
            window.c1,
            window.c2,
            is_differentiated,
        )
        if is_differentiated:
            loss = _KnownGradient.apply(rendered, loss, gradient)
        return loss, SsimStatistics(*statistics.unbind())
    x = reference.s3im_image(target, orders, patch_height)
    y = reference.s3im_image(rendered, orders, patch_height)
    maps = SsimMaps(*reference.ssim_maps(x, y, window))
    mean = maps.ssim.mean()
    return 1 - mean, _statistics(mean, maps)


class _KnownGradient(torch.autograd.Function):
    """A value that comes with its gradient; cheaper a call than an operator's registered formula."""

    @staticmethod
    def forward(ctx, inputs: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        """Return `value []` as a function of `inputs`."""
        ctx.save_for_backward(gradient)
        return value.view_as(value)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_value: Tensor) -> tuple[Tensor, None, None]:
        """The gradient scaled by the value's."""
        return grad_value * ctx.saved_tensors[0], None, None


class _RecomputedMean(torch.autograd.Function):
    """The native mean with nothing saved but the images."""

    @staticmethod
    def forward(ctx, x: Tensor, y: Tensor, window: SsimWindow) -> tuple[Tensor, Tensor]:
        """Mean [] and statistics [5]."""
        mean, statistics, _ = torch.ops.nerf_ssim.ssim_mean(x, y, *_places(window), window.c1, window.c2, False, False)
        ctx.save_for_backward(x, y)
        ctx.window = window
        ctx.mark_non_differentiable(statistics)
        return mean, statistics

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_mean: Tensor, grad_statistics: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """The gradients that are wanted."""
        (x, y), window, needs = ctx.saved_tensors, ctx.window, ctx.needs_input_grad[:2]
        rows, columns = window.map_size(*x.shape[1:])
        share = 1 / (len(x) * rows * columns)
        constants = window.c1, window.c2
        grads = torch.ops.nerf_ssim.ssim_recompute(x, y, grad_mean, share, *_places(window), *constants, *needs)
        grad_x, grad_y = (grad if is_needed else None for grad, is_needed in zip(grads, needs, strict=True))
        return grad_x, grad_y, None


def _statistics(mean: Tensor, maps: SsimMaps) -> SsimStatistics:
    with torch.no_grad():
        difference = maps.mean_difference
        return SsimStatistics(
            mean.detach(), maps.luminance.mean(), maps.structure.mean(), difference.mean(), difference.abs().mean()
        )


def _places(window: SsimWindow) -> tuple[tuple[float, ...], int, int, int]:
    return window.taps, window.stride, window.padding_before, window.padding_after


def _wants_gradient(tensor: Tensor) -> bool:
    return torch.is_grad_enabled() and tensor.requires_grad


def _map_size(height: int, width: int, taps: list[float], stride: int, before: int, after: int) -> tuple[int, int]:
    extra = before + after - len(taps)
    return (height + extra) // stride + 1, (width + extra) // stride + 1


def _register_ssim_mean() -> None:
    @torch.library.register_fake("nerf_ssim::ssim_mean")
    def fake(x, y, taps, stride, before, after, c1, c2, needs_x, needs_y):
        maps = 2 + needs_x + needs_y if needs_x or needs_y else 0
        size = _map_size(x.shape[1], x.shape[2], taps, stride, before, after)
        return x.new_empty(()), x.new_empty(5), x.new_empty(maps, x.shape[0], *size)

    @torch.library.register_fake("nerf_ssim::ssim_adjoint")
    def fake_adjoint(x, y, partials, scale, factor, taps, stride, before, after, needs_x, needs_y):
        return _empty_gradients(x, y, needs_x, needs_y)

    def setup_context(ctx, inputs, output):
        x, y, taps, stride, before, after, _, _, needs_x, needs_y = inputs
        mean, statistics, partials = output
        ctx.mark_non_differentiable(statistics, partials)
        ctx.set_materialize_grads(False)  # or zeros of the partials' size would be made for backward to ignore
        ctx.save_for_backward(x, y, partials)
        ctx.places = taps, stride, before, after
        ctx.needs = needs_x, needs_y
        ctx.windows = partials[0].numel() if len(partials) else 0

    def backward(ctx, grad_mean, grad_statistics, grad_partials):
        if grad_mean is None:
            return (None,) * 10
        x, y, partials = ctx.saved_tensors
        grads = torch.ops.nerf_ssim.ssim_adjoint(x, y, partials, grad_mean, 1 / ctx.windows, *ctx.places, *ctx.needs)
        grad_x, grad_y = (grad if is_needed else None for grad, is_needed in zip(grads, ctx.needs, strict=True))
        return grad_x, grad_y, None, None, None, None, None, None, None, None

    torch.library.register_autograd("nerf_ssim::ssim_mean", backward, setup_context=setup_context)


def _register_ssim_recompute() -> None:
    @torch.library.register_fake("nerf_ssim::ssim_recompute")
    def fake(x, y, scale, factor, taps, stride, before, after, c1, c2, needs_x, needs_y):
        return _empty_gradients(x, y, needs_x, needs_y)


def _empty_gradients(x: Tensor, y: Tensor, needs_x: bool, needs_y: bool) -> tuple[Tensor, Tensor]:
    """Dense tensors like the images, or empty ones for gradients that are not wanted."""
    contiguous = torch.contiguous_format
    grad_x = torch.empty_like(x, memory_format=contiguous) if needs_x else x.new_empty(0)
    grad_y = torch.empty_like(y, memory_format=contiguous) if needs_y else y.new_empty(0)
    return grad_x, grad_y


def _register_ssim_moments() -> None:
    @torch.library.register_fake("nerf_ssim::ssim_moments")
    def fake(x, y, taps, stride, before, after):
        return x.new_empty(4, x.shape[0], *_map_size(x.shape[1], x.shape[2], taps, stride, before, after))

    def setup_context(ctx, inputs, output):
        x, y, taps, stride, before, after = inputs
        ctx.save_for_backward(x, y)
        ctx.places = taps, stride, before, after

    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        needs_x, needs_y = ctx.needs_input_grad[:2]
        if not needs_y:
            grad = grad[[0, 2, 3]]
        elif not needs_x:
            grad = grad[1:]
        one = grad.new_ones(())
        grads = torch.ops.nerf_ssim.ssim_adjoint(x, y, grad, one, 1.0, *ctx.places, needs_x, needs_y)
        return grads[0] if needs_x else None, grads[1] if needs_y else None, None, None, None, None

    torch.library.register_autograd("nerf_ssim::ssim_moments", backward, setup_context=setup_context)


def _register_s3im() -> None:
    @torch.library.register_fake("nerf_ssim::s3im")
    def fake(rendered, target, orders, patch_height, taps, stride, padding, c1, c2, needs_gradient):
        gradient = rendered.new_empty(rendered.shape if needs_gradient else 0)
        return rendered.new_empty(()), rendered.new_empty(5), gradient


if backend.declare("ssim_mean"):
    _register_ssim_mean()
if backend.declare("ssim_recompute"):
    _register_ssim_recompute()
if backend.declare("ssim_moments"):
    _register_ssim_moments()
if backend.declare("s3im"):
    _register_s3im()
