"""SSIM forward and backward: the native op, the reference, and the textbook form with five 2-D convolutions."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.timing import compare, ratio
from nerf_ssim.ops.ssim import ssim_mean
from nerf_ssim.ops.ssim_window import SsimWindow

SIZE = (3, 384, 384)


def five_convolutions(x: Tensor, y: Tensor, window: SsimWindow) -> Tensor:
    """Mean SSIM of `[planes, height, width]` as it is usually written."""
    taps = torch.tensor(window.taps)
    kernel = torch.outer(taps, taps).expand(len(x), 1, -1, -1).contiguous()

    def mean(value: Tensor) -> Tensor:
        return F.conv2d(value[None], kernel, padding=window.padding_before, groups=len(x))

    mean_x, mean_y = mean(x), mean(y)
    var_x, var_y = mean(x * x) - mean_x * mean_x, mean(y * y) - mean_y * mean_y
    covariance = mean(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + window.c1) / (mean_x * mean_x + mean_y * mean_y + window.c1)
    return (luminance * (2 * covariance + window.c2) / (var_x + var_y + window.c2)).mean()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(args: argparse.Namespace, options: Sequence[str] = ()) -> dict[str, object]:
    """Time the 11x11 Gaussian SSIM of a 3x384x384 pair."""
    torch.set_num_threads(args.threads)
    window = SsimWindow()
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(SIZE, generator=generator)
    y = torch.rand(SIZE, generator=generator).requires_grad_()

    def backward(value: Tensor) -> None:
        y.grad = None
        value.backward()

    record = compare(
        "ssim_mean", lambda: backward(ssim_mean(x, y, window)[0]), args.repeats, has_reference=args.reference,
        others={"five_convolutions": lambda: backward(five_convolutions(x, y, window))},
        planes=SIZE[0], height=SIZE[1], width=SIZE[2], window=window.size,
    )  # fmt: skip
    return record | {
        "ratio_five_convolutions": ratio(record, "five_convolutions_ms", "native_ms"),
        "cpu_ratio_five_convolutions": ratio(record, "cpu_five_convolutions_ms", "cpu_native_ms"),
    }
