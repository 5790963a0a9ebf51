"""A pixel error and SSIM of two images as one loss: each pass reads the images once for both.

The kernels take the window of 11 at stride 1, which is 3D Gaussian splatting's. Other dtypes than float32 go to the
reference, and so do second derivatives and those in forward mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from nerf_ssim.ops.calls import GradientCall
from nerf_ssim.ops.declaration import Op, declare
from nerf_ssim.ops.ssim import (
    CONSTANTS,
    NEEDS,
    PARTS,
    PLACES,
    SSIM_MEAN,
    example_images,
    gradient_shapes,
    map_size,
    prepared_gradients,
)
from nerf_ssim.ops.ssim_window import LARGEST_WINDOW, SsimMix, SsimWindow, WindowPlaces


def ssim_loss(x: Tensor, y: Tensor, window: SsimWindow, *, power: int, by_error: float, by_index: float) -> Tensor:
    """`by_error * mean(|x - y|^power) + by_index * (sum of the mix's weights - mean index)`, 0-dim.

    Args:
        x, y: image planes of one shape, `[planes, height, width]`; the loss is differentiable in both.
        window: of 11 at stride 1, without `clamp_variance`; its mix makes the index, SSIM by default.
        power: 1 for the mean absolute error, whose derivative at 0 is 0, or 2 for the mean squared error.
        by_error, by_index: the weights of the two parts.
    Raises:
        ValueError: another window or power.
    """
    if window.size != LARGEST_WINDOW or window.stride != 1 or window.clamp_variance or power not in (1, 2):
        raise ValueError(f"ssim_loss: expected a window of 11 at stride 1 and power 1 or 2, not {window}, {power}")
    return SSIM_LOSS(x, y, *window.places, power, by_error, by_index)


def _by_reference(x: Tensor, y: Tensor, *others: Any) -> Tensor:
    *places, power, by_error, by_index = others
    difference = x - y
    error = difference.abs() if power == 1 else difference.square()
    index = SSIM_MEAN.reference(x, y, *places)[0]
    return by_error * error.mean() + by_index * (sum(WindowPlaces(*places).mix) - index)


def _shapes(x: Tensor, y: Tensor, taps: Sequence[float], stride: int, *others: Any) -> tuple[Tensor, Tensor]:
    before, after, needs_x, needs_y = *others[:2], *others[-2:]
    maps = 2 + needs_x + needs_y if needs_x or needs_y else 0
    size = map_size(x.shape[1], x.shape[2], taps, stride, before, after)
    return x.new_empty(()), x.new_empty(maps, x.shape[0], *size)


def _gradient(call: GradientCall) -> Sequence[Tensor]:
    x, y, *places, _, _, _, power, by_error, by_index = call.args
    (partials,) = call.kept
    needs = prepared_gradients(partials, call)
    operator = torch.ops.nerf_ssim.ssim_loss_adjoint
    return operator(x, y, partials, *call.upstream, *places, power, by_error, by_index, *needs)


def _examples() -> Iterator[tuple[Any, ...]]:
    for size, padding, power, mix in (
        ((2, 13, 17), "same", 1, SsimMix()),
        ((1, 70, 12), "valid", 2, SsimMix()),
        ((1, 5, 33), 7, 1, PARTS),
    ):
        yield *example_images(size), *SsimWindow(padding=padding, mix=mix).places, power, 0.8, 0.3


_LOSS = "int power, float by_error, float by_index"

SSIM_LOSS = declare(
    Op(
        name="ssim_loss",
        operators={
            f"ssim_loss(Tensor x, Tensor y, {PLACES}, {CONSTANTS}, {_LOSS}, {NEEDS})"
            " -> (Tensor loss, Tensor partials)": _shapes,
            f"ssim_loss_adjoint(Tensor x, Tensor y, Tensor partials, Tensor scale, {PLACES}, {_LOSS}, {NEEDS})"
            " -> (Tensor grad_x, Tensor grad_y)": gradient_shapes,
        },
        reference=_by_reference,
        differentiable=("x", "y"),
        gradient=_gradient,
        flags=2,
        examples=_examples,
        tolerance=1e-3,
    )
)
