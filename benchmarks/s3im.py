"""S3IM forward and backward with its gathers, batch 4096 in ten orders; drawing the orders is timed apart."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

from benchmarks.timing import compare
from nerf_ssim.ops.ssim import s3im
from nerf_ssim.ssim import S3IM


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(args: argparse.Namespace, options: Sequence[str] = ()) -> dict[str, object]:
    """Time the canonical S3IM on given orders."""
    torch.set_num_threads(args.threads)
    loss = S3IM()
    rays = loss.patch_height * loss.patch_width
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(rays, 3, generator=generator)
    rendered = torch.rand(rays, 3, generator=generator).requires_grad_()
    orders = loss.draw_orders()

    def forward_backward() -> None:
        rendered.grad = None
        s3im(rendered, target, orders, loss.patch_height, loss.window)[0].backward()

    return compare(
        "s3im", forward_backward, args.repeats, has_reference=args.reference, others={"orders": loss.draw_orders},
        rays=rays, repeat=loss.repeat, kernel=loss.window.size, stride=loss.window.stride,
    )  # fmt: skip
