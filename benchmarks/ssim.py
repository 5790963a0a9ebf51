"""SSIM forward and backward: the native op, the reference, and the textbook form with five 2-D convolutions."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from nerf_ssim.ops import backend
from nerf_ssim.ops import ssim as ops
from nerf_ssim.ops.reference import ssim as reference
from nerf_ssim.ops.ssim_window import SsimWindow

SIZE = (3, 384, 384)


def interleaved_medians(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each call, taken in turns in one process.

    With one thread this is the process's CPU time, which other jobs disturb least; with more it is wall time.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            start = clock()
            call()
            seconds[name].append(clock() - start)
    return {name: 1e3 * statistics.median(values) for name, values in seconds.items()}


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


def run(args: argparse.Namespace) -> dict[str, object]:
    """Time 11x11 Gaussian SSIM of a 3x384x384 pair; print and return one JSON object.

    Reads `args.threads` (default 1) and `args.repeats` (default 15) where they are given.
    """
    torch.set_num_threads(getattr(args, "threads", None) or 1)
    window = SsimWindow()
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(SIZE, generator=generator)
    y = torch.rand(SIZE, generator=generator).requires_grad_()

    def backward(value: Tensor) -> None:
        y.grad = None
        value.backward()

    calls = {
        "native": lambda: backward(ops.ssim_mean(x, y, window)[0]),
        "reference": lambda: backward(reference.ssim_maps(x, y, window)[0].mean()),
        "five_convolutions": lambda: backward(five_convolutions(x, y, window)),
    }
    times = interleaved_medians(calls, getattr(args, "repeats", None) or 15)
    result = {
        "op": "ssim",
        "implementation": backend.implementation("ssim_mean", x, y),
        "native_ms": round(times["native"], 3),
        "reference_ms": round(times["reference"], 3),
        "ratio": round(times["reference"] / times["native"], 2),
        "five_convolutions_ms": round(times["five_convolutions"], 3),
        "ratio_five_convolutions": round(times["five_convolutions"] / times["native"], 2),
        "threads": torch.get_num_threads(),
        "clock": "cpu" if torch.get_num_threads() == 1 else "wall",
        "sizes": {"planes": SIZE[0], "height": SIZE[1], "width": SIZE[2], "window": window.size},
        "wait_policy": os.environ.get("OMP_WAIT_POLICY", "default"),
    }
    print(json.dumps(result), flush=True)
    return result
