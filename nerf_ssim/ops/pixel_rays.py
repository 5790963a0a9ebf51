"""The rays through pixels of several views, and the colours of these pixels: a training batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from nerf_ssim.ops.declaration import Op, declare
from nerf_ssim.ops.example_values import uniform
from nerf_ssim.ops.reference import pixel_rays as reference


def pixel_rays(pixels: Tensor, images: Tensor, c2w: Tensor, K: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rays through the centres of pixels, and their colours.

    Args:
        pixels: flat places over views, rows and columns, `[n]` int64.
        images: `[views, height, width, 3]` uint8.
        c2w: camera-to-world of each view, `[views, 3, 4]`, OpenCV axes.
        K: intrinsics of each view in pixels, `[views, 3, 3]`, upper triangular.
    Returns:
        Origins and unit directions in world coordinates and colours in [0, 1], three `[n, 3]`. On a CPU and on a GPU
        they are the same to the last bit; PyTorch's own operators may round the directions otherwise.
    Raises:
        RuntimeError: a pixel that no view has, on the CPU; on a GPU, unseen by the host, its numbers are NaN.
    """
    if images.dim() != 4 or images.shape[3] != 3 or pixels.dim() != 1:
        shapes = f"{tuple(pixels.shape)} and {tuple(images.shape)}"
        raise ValueError(f"pixels and images: expected [n] and [views, height, width, 3], not {shapes}")
    return PIXEL_RAYS(pixels, images, c2w, K)


def _examples() -> Iterator[tuple[Any, ...]]:
    for views, height, width in ((3, 5, 7), (1, 2, 1)):
        images = (255 * uniform(views, height, width, 3, seed=1)).to(torch.uint8)
        c2w = uniform(views, 3, 4, low=-1, seed=2)
        K = torch.tensor([[6.0, 0.2, 3.1], [0.0, 5.5, 2.4], [0.0, 0.0, 1.0]]) + 0.5 * uniform(views, 1, 1, seed=3)
        yield torch.arange(images[..., 0].numel()).flip(0), images, c2w, K


PIXEL_RAYS = declare(
    Op(
        name="pixel_rays",
        operators={
            "pixel_rays(Tensor pixels, Tensor images, Tensor c2w, Tensor K) -> (Tensor, Tensor, Tensor)": (
                lambda pixels, images, c2w, K: tuple(c2w.new_empty(pixels.shape[0], 3) for _ in range(3))
            ),
        },
        reference=reference.pixel_rays,
        results=3,
        examples=_examples,
    )
)
