"""Structural similarity of image planes, and of a stochastic image of rays (S3IM).

The native mean saves each window's partial derivatives for the backward pass unless told to compute them again, the
native S3IM makes its gradient on the way; the maps are pointwise functions of native window means. `clamp_variance`,
types other than float32 and, for S3IM, more than four channels or a target that wants a gradient go to the reference.
So do second derivatives and those in forward mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nerf_ssim.ops.calls import GradientCall
from nerf_ssim.ops.declaration import Op, declare
from nerf_ssim.ops.example_values import uniform
from nerf_ssim.ops.reference import ssim as reference
from nerf_ssim.ops.ssim_window import SsimMix, SsimWindow, WindowPlaces

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
    if window.clamp_variance:
        moments = reference.ssim_moments(x, y, window)
    else:
        moments = SSIM_MOMENTS(x, y, *window.places[:4])
    luminance, structure, difference = reference.similarity(moments, window)
    return SsimMaps(luminance * structure, luminance, structure, difference)


def ssim_mean(x: Tensor, y: Tensor, window: SsimWindow, *, recompute: bool = False) -> tuple[Tensor, SsimStatistics]:
    """Mean index of `x, y [planes, height, width]` (0-dim, differentiable in both) and the means of SSIM's parts.

    The index is `window.mix` of S1 S2, S1 and S2, SSIM unless that says otherwise.

    With `recompute` the native forward pass saves no map and the backward pass computes the windows again; a compiled
    call saves what it likes.
    """
    if window.clamp_variance:
        mean, statistics = _mean_and_statistics(ssim_maps(x, y, window), window.mix)
    elif recompute and not torch.compiler.is_compiling():
        mean, statistics = SSIM_RECOMPUTE(x, y, *window.places)
    else:
        mean, statistics = SSIM_MEAN(x, y, *window.places)
    return mean, SsimStatistics(*statistics.detach().unbind())


def s3im(
    rendered: Tensor, target: Tensor, orders: Tensor, patch_height: int, window: SsimWindow
) -> tuple[Tensor, SsimStatistics]:
    """1 - mean SSIM of the stochastic image, and the means of its parts with x the target and y the rendered colours.

    Where `window.mix` is not SSIM, the loss is the sum of the mix's weights less the mean index.

    Args:
        rendered, target: colours of the same rays, `[rays, channels]`.
        orders: indices into the rays, `[repeat, rays]`, int64; one order after the other fills the image row by row.
        patch_height: rows of the image, a divisor of the number of rays; it has `repeat * rays / patch_height` columns.
        window: its padding is the same on every side.
    """
    has_one_padding = window.padding_before == window.padding_after
    if window.clamp_variance or not has_one_padding or rendered.shape[1] > MOST_CHANNELS:
        loss, statistics = _s3im_by_reference(rendered, target, orders, patch_height, window)
    else:
        taps, stride, padding, _, *constants = window.places
        loss, statistics = STOCHASTIC_SSIM(rendered, target, orders, patch_height, taps, stride, padding, *constants)
    return loss, SsimStatistics(*statistics.detach().unbind())


def _mean_and_statistics(maps: SsimMaps, mix: SsimMix) -> tuple[Tensor, Tensor]:
    """The mean index, and the five means of `SsimStatistics` in one tensor that carries no gradient."""
    means = [each.mean() for each in maps[:3]]
    index = maps.ssim.new_zeros(())
    for weight, mean in zip(mix, means, strict=True):
        if weight != 0:  # a part without weight has no say, not even where it is NaN
            index = index + weight * mean
    difference = maps.mean_difference.detach()
    return index, torch.stack((*means, difference.mean(), difference.abs().mean())).detach()


def _s3im_by_reference(
    rendered: Tensor, target: Tensor, orders: Tensor, patch_height: int, window: SsimWindow | WindowPlaces
) -> tuple[Tensor, Tensor]:
    x = reference.s3im_image(target, orders, patch_height)
    y = reference.s3im_image(rendered, orders, patch_height)
    mean, statistics = _mean_and_statistics(SsimMaps(*reference.ssim_maps(x, y, window)), window.mix)
    return sum(window.mix) - mean, statistics


def _mean_by_reference(x: Tensor, y: Tensor, *places: Any) -> tuple[Tensor, Tensor]:
    window = WindowPlaces(*places)
    return _mean_and_statistics(SsimMaps(*reference.ssim_maps(x, y, window)), window.mix)


def map_size(height: int, width: int, taps: Sequence[float], stride: int, before: int, after: int) -> tuple[int, int]:
    """Rows and columns of windows over an image."""
    extra = before + after - len(taps)
    return (height + extra) // stride + 1, (width + extra) // stride + 1


def _mean_shapes(x: Tensor, y: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    *places, _, _, _, needs_x, needs_y = others
    maps = 2 + needs_x + needs_y if needs_x or needs_y else 0
    partials = x.new_empty(maps, x.shape[0], *map_size(x.shape[1], x.shape[2], *places))
    return x.new_empty(()), x.new_empty(5), partials


def gradient_shapes(x: Tensor, y: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    """Dense tensors like the images, or empty ones for gradients that are not wanted."""
    contiguous = torch.contiguous_format
    needs_x, needs_y = others[-2:]
    grad_x = torch.empty_like(x, memory_format=contiguous) if needs_x else x.new_empty(0)
    grad_y = torch.empty_like(y, memory_format=contiguous) if needs_y else y.new_empty(0)
    return grad_x, grad_y


def _moments_shape(x: Tensor, y: Tensor, *places: Any) -> Tensor:
    return x.new_empty(4, x.shape[0], *map_size(x.shape[1], x.shape[2], *places))


def _mean_gradient(call: GradientCall) -> Sequence[Tensor]:
    x, y, *places, _, _, _ = call.args
    (partials,) = call.kept
    return torch.ops.nerf_ssim.ssim_adjoint(
        x, y, partials, *call.upstream, 1 / partials[0].numel(), *places, *prepared_gradients(partials, call)
    )


def prepared_gradients(partials: Tensor, call: GradientCall) -> tuple[bool, bool]:
    """Which gradients the saved maps are for: both, or the one that is wanted."""
    return (True, True) if len(partials) == 4 else (call.needs[0], call.needs[1])


def _recompute_forward(needs: tuple[bool, ...], resource: None, x: Tensor, y: Tensor, *places: Any) -> Any:
    return torch.ops.nerf_ssim.ssim_mean(x, y, *places, False, False)[:2]


def _recompute_gradient(call: GradientCall) -> Sequence[Tensor]:
    x, y, *places, c1, c2, mix = call.args
    rows, columns = map_size(x.shape[1], x.shape[2], *places)
    share = 1 / (len(x) * rows * columns)
    return torch.ops.nerf_ssim.ssim_recompute(x, y, *call.upstream, share, *places, c1, c2, mix, *call.needs)


def _moments_gradient(call: GradientCall) -> Sequence[Tensor]:
    x, y, *places = call.args
    (upstream,), (moments,) = call.upstream, call.kept
    assert upstream is not None
    # The adjoint takes derivatives by the means of x, y, x^2 + y^2 and x y; a variance is a mean of squares less mu^2.
    (mean_x, mean_y), (by_mean_x, by_mean_y, by_variances, by_covariance) = moments[:2], upstream
    by_mean_x = by_mean_x - 2 * mean_x * by_variances - mean_y * by_covariance
    by_mean_y = by_mean_y - 2 * mean_y * by_variances - mean_x * by_covariance
    upstream = torch.stack((by_mean_x, by_mean_y, by_variances, by_covariance))
    needs_x, needs_y = call.needs
    partials = upstream if needs_x and needs_y else upstream[[0, 2, 3]] if needs_x else upstream[1:]
    return torch.ops.nerf_ssim.ssim_adjoint(x, y, partials, upstream.new_ones(()), 1.0, *places, needs_x, needs_y)


def _s3im_shapes(rendered: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    needs_gradient = others[-1]
    gradient = rendered.new_empty(rendered.shape if needs_gradient else 0)
    return rendered.new_empty(()), rendered.new_empty(5), gradient


def _s3im_gradient(call: GradientCall) -> Sequence[Tensor]:
    (upstream,) = call.upstream
    assert upstream is not None
    return (upstream * call.kept[0],)


PARTS = SsimMix(0.2, 0.7, 1.6)  # of the examples


def _windows() -> Iterator[tuple[tuple[int, int, int], WindowPlaces]]:
    for size, window in (
        ((2, 13, 17), SsimWindow(11, 1.5)),
        ((1, 12, 9), SsimWindow(4, 1.5, 4, 1)),
        ((3, 8, 15), SsimWindow(7, None, 2, "valid")),
    ):
        yield size, window.places


def example_images(size: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Two images that are alike, `size` each."""
    x = uniform(*size)
    return x, 0.5 * x + 0.5 * uniform(*size, seed=1)


def _mean_examples() -> Iterator[tuple[Any, ...]]:
    for size, places in _windows():
        yield *example_images(size), *places
    yield *example_images(size), *places[:6], PARTS


def _moments_examples() -> Iterator[tuple[Any, ...]]:
    for size, places in _windows():
        yield *example_images(size), *places[:4]


def _s3im_examples() -> Iterator[tuple[Any, ...]]:
    for height, width, repeat, kernel, stride in ((8, 6, 3, 4, 4), (5, 7, 2, 3, 2), (12, 3, 1, 11, 3)):
        rays, window = height * width, SsimWindow(kernel, 1.5, stride, (kernel - 1) // 2)
        orders = torch.stack([uniform(rays, seed=order).argsort() for order in range(repeat)])
        colours = uniform(rays, 3), uniform(rays, 3, seed=1)
        for mix in (window.mix, PARTS):
            yield *colours, orders, height, window.taps, stride, window.padding_before, window.c1, window.c2, mix


PLACES = "float[] taps, int stride, int before, int after"
CONSTANTS = "float c1, float c2, float[] mix"
NEEDS = "bool needs_x, bool needs_y"
_MEAN = (
    f"ssim_mean(Tensor x, Tensor y, {PLACES}, {CONSTANTS}, {NEEDS})"
    " -> (Tensor mean, Tensor statistics, Tensor partials)"
)
_ADJOINT = (
    f"ssim_adjoint(Tensor x, Tensor y, Tensor partials, Tensor scale, float factor, {PLACES}, {NEEDS})"
    " -> (Tensor grad_x, Tensor grad_y)"
)
_RECOMPUTE = (
    f"ssim_recompute(Tensor x, Tensor y, Tensor scale, float factor, {PLACES}, {CONSTANTS}, {NEEDS})"
    " -> (Tensor grad_x, Tensor grad_y)"
)

SSIM_MEAN = declare(
    Op(
        name="ssim_mean",
        operators={_MEAN: _mean_shapes, _ADJOINT: gradient_shapes},
        reference=_mean_by_reference,
        differentiable=("x", "y"),
        gradient=_mean_gradient,
        results=2,
        constant_results=(1,),
        flags=2,
        examples=_mean_examples,
        tolerance=1e-3,
    )
)
SSIM_RECOMPUTE = declare(
    Op(
        name="ssim_recompute",
        operators={_MEAN: _mean_shapes, _RECOMPUTE: gradient_shapes},
        reference=_mean_by_reference,
        differentiable=("x", "y"),
        forward=_recompute_forward,
        gradient=_recompute_gradient,
        results=2,
        constant_results=(1,),
        compiles=False,
        flags=2,
        examples=_mean_examples,
        tolerance=1e-3,
    )
)
SSIM_MOMENTS = declare(
    Op(
        name="ssim_moments",
        operators={
            f"ssim_moments(Tensor x, Tensor y, {PLACES}) -> Tensor": _moments_shape,
            _ADJOINT: gradient_shapes,
        },
        reference=lambda x, y, *places: reference.ssim_moments(x, y, WindowPlaces(*places)),
        differentiable=("x", "y"),
        gradient=_moments_gradient,
        keeps=(0,),
        examples=_moments_examples,
    )
)
STOCHASTIC_SSIM = declare(
    Op(
        name="s3im",
        operators={
            "s3im(Tensor rendered, Tensor target, Tensor orders, int patch_height, float[] taps, int stride,"
            f" int padding, {CONSTANTS}, bool needs_gradient)"
            " -> (Tensor loss, Tensor statistics, Tensor gradient)": _s3im_shapes,
        },
        reference=lambda rendered, target, orders, height, taps, stride, padding, c1, c2, mix: _s3im_by_reference(
            rendered, target, orders, height, WindowPlaces(taps, stride, padding, padding, c1, c2, SsimMix(*mix))
        ),
        differentiable=("rendered",),
        gradient=_s3im_gradient,
        results=2,
        constant_results=(1,),
        flags=1,
        examples=_s3im_examples,
        tolerance=1e-3,
    )
)
