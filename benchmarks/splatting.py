"""The loss of 3D Gaussian splatting, forward and backward: as one operator, as two, as L1 alone, and by a package."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.timing import compare, ratio
from nerf_ssim.ssim import fused_ssim
from nerf_ssim.ssim.combined import SPLATTING_WEIGHT, fused_l1_ssim


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The size of the picture."""
    parser.add_argument("--height", type=int, default=540)
    parser.add_argument("--width", type=int, default=960)


def run(args: argparse.Namespace, options: Sequence[str] = ()) -> dict[str, object]:
    """Time `0.8 L1 + 0.2 (1 - SSIM)` of a picture, the same by two operators, and L1 alone, as without SSIM."""
    torch.set_num_threads(args.threads)
    generator = torch.Generator().manual_seed(0)
    size = (1, 3, args.height, args.width)
    x = torch.rand(size, generator=generator)
    y = torch.rand(size, generator=generator).requires_grad_()

    def backward(value: Tensor) -> None:
        y.grad = None
        value.backward()

    others = {
        "l1_alone": lambda: backward(fused_l1_ssim(y, x, 0.0)),
        "two_operators": lambda: backward(
            (1 - SPLATTING_WEIGHT) * F.l1_loss(y, x) + SPLATTING_WEIGHT * (1 - fused_ssim(y, x))
        ),
    }
    try:
        from pytorch_msssim import ssim
    except ImportError:
        pass
    else:
        others["pytorch_msssim"] = lambda: backward(
            (1 - SPLATTING_WEIGHT) * F.l1_loss(y, x) + SPLATTING_WEIGHT * (1 - ssim(y, x, data_range=1.0))
        )
    record = compare(
        "ssim_mean", lambda: backward(fused_l1_ssim(y, x)), args.repeats, has_reference=args.reference, others=others,
        height=args.height, width=args.width,
    )  # fmt: skip
    return record | {"cpu_ratio_without_ssim": ratio(record, "cpu_native_ms", "cpu_l1_alone_ms")}
