"""S3IM forward and backward with its gathers, batch 4096 in ten orders: the native op and the reference."""

from __future__ import annotations

import argparse
import json
import os

import torch
from torch import Tensor

from benchmarks.ssim import interleaved_medians
from nerf_ssim.ops import backend
from nerf_ssim.ops import ssim as ops
from nerf_ssim.ops.reference import ssim as reference
from nerf_ssim.ssim import S3IM


def run(args: argparse.Namespace) -> dict[str, object]:
    """Time the canonical S3IM on given orders, and drawing them apart; print and return one JSON object.

    Reads `args.threads` (default 1) and `args.repeats` (default 50) where they are given.
    """
    torch.set_num_threads(getattr(args, "threads", None) or 1)
    loss = S3IM()
    rays = loss.patch_height * loss.patch_width
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(rays, 3, generator=generator)
    rendered = torch.rand(rays, 3, generator=generator).requires_grad_()
    orders = loss.draw_orders()

    def backward(value: Tensor) -> None:
        rendered.grad = None
        value.backward()

    def by_reference() -> Tensor:
        images = (reference.s3im_image(colours, orders, loss.patch_height) for colours in (target, rendered))
        return 1 - reference.ssim_maps(*images, loss.window)[0].mean()

    calls = {
        "native": lambda: backward(ops.s3im(rendered, target, orders, loss.patch_height, loss.window)[0]),
        "reference": lambda: backward(by_reference()),
        "orders": loss.draw_orders,
    }
    times = interleaved_medians(calls, getattr(args, "repeats", None) or 50)
    result = {
        "op": "s3im",
        "implementation": backend.implementation("s3im", rendered, target),
        "native_ms": round(times["native"], 3),
        "reference_ms": round(times["reference"], 3),
        "ratio": round(times["reference"] / times["native"], 2),
        "draw_orders_ms": round(times["orders"], 3),
        "threads": torch.get_num_threads(),
        "clock": "cpu" if torch.get_num_threads() == 1 else "wall",
        "sizes": {"rays": rays, "repeat": loss.repeat, "kernel": loss.window.size, "stride": loss.window.stride},
        "wait_policy": os.environ.get("OMP_WAIT_POLICY", "default"),
    }
    print(json.dumps(result), flush=True)
    return result
