"""Adam in one pass against torch's form of it, and the memory traffic it reaches beside a plain copy."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

import torch

from benchmarks.timing import compare
from nerf_ssim.ops import adam

CONSTANTS = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "step": 10}
BYTES = 28  # an element: parameter and two moments read and written, gradient read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How large a parameter."""
    parser.add_argument("--elements", type=int, default=4_000_000, help="elements of the parameter")


def run(args: argparse.Namespace, options: Sequence[str] = ()) -> list[dict[str, object]]:
    """Time one update of one large parameter, beside a copy of it."""
    torch.set_num_threads(args.threads)
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.rand(args.elements, generator=generator) for _ in range(4)]
    target = torch.empty_like(tensors[0])
    settings = {"has_reference": args.reference, "elements": args.elements}
    record = compare(
        "adam_step", partial(adam.adam_step, *tensors, **CONSTANTS), args.repeats,
        others={"copy": lambda: target.copy_(tensors[0])}, **settings,
    )  # fmt: skip
    rate = 1e-6 * args.elements * BYTES / record["native_ms"]
    copy_rate = 1e-6 * args.elements * 8 / record["copy_ms"]
    figures = {"gb_s": rate, "copy_gb_s": copy_rate, "share_of_copy": rate / copy_rate}
    return [record | {name: round(value, 3) for name, value in figures.items()}]
