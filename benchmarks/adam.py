"""Adam in one pass against torch's, in one process, and the memory traffic it reaches beside a plain copy.

`python -m benchmarks.adam --elements 4000000` prints one JSON line.
"""

from __future__ import annotations

import argparse
import json

import torch

from benchmarks.decoder import interleaved
from nerf_ssim.ops import adam, backend
from nerf_ssim.ops.reference import adam as reference

CONSTANTS = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "step": 10}
BYTES = 28  # an element: parameter and two moments read and written, gradient read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--elements", type=int, default=4_000_000, help="elements of the parameter")
    parser.add_argument("--touched", type=float, default=0.05, help="share of blocks of 64 that have a gradient")
    parser.add_argument("--threads", type=int, default=1, help="threads; with 1, processor time is reported")
    parser.add_argument("--repeats", type=int, default=7, help="timed calls of each kind, taken in turn")


def run(args: argparse.Namespace) -> dict:
    """Time one update of one large parameter in each form."""
    torch.set_num_threads(args.threads)
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.rand(args.elements, generator=generator) for _ in range(4)]
    blocks = torch.rand((args.elements + 63) // 64, generator=generator) < args.touched
    masked = [*tensors[:1], tensors[1] * blocks.repeat_interleave(64)[: args.elements], *tensors[2:]]
    target = torch.empty_like(tensors[0])
    calls = {
        "native": lambda: adam.adam_step(*tensors, **CONSTANTS),
        "reference": lambda: reference.adam_step(*tensors, **CONSTANTS),
        "masked": lambda: adam.masked_adam_step(*masked, **CONSTANTS),
        "masked_reference": lambda: reference.masked_adam_step(*masked, **CONSTANTS),
        "copy": lambda: target.copy_(tensors[0]),
    }
    milliseconds = interleaved(calls, args.repeats, args.threads)
    rate = args.elements * BYTES / milliseconds["native"] / 1e6
    copy_rate = args.elements * 8 / milliseconds["copy"] / 1e6
    return {
        "op": "adam_step", "implementation": backend.implementation("adam_step", *tensors), "elements": args.elements,
        "threads": args.threads, "native_ms": milliseconds["native"], "reference_ms": milliseconds["reference"],
        "ratio": milliseconds["reference"] / milliseconds["native"], "masked_ms": milliseconds["masked"],
        "masked_reference_ms": milliseconds["masked_reference"],
        "masked_ratio": milliseconds["masked_reference"] / milliseconds["masked"],
        "gigabytes_per_second": rate, "copy_gigabytes_per_second": copy_rate, "share_of_copy": rate / copy_rate,
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    print(json.dumps(run(parser.parse_args())))
