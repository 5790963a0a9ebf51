"""The colour decoder, forward and backward: native against reference in one process, and the share of torch.mm's rate.

`python -m benchmarks.decoder --samples 50000 --threads 2` prints one JSON line. For figures from a busy machine take
`--threads 1`, which counts processor time, and OMP_WAIT_POLICY=passive.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

from nerf_ssim.ops import backend
from nerf_ssim.ops.decoder import DecoderWeights, decode_color, decoder_inputs
from nerf_ssim.ops.reference import decoder as reference

FEATURES, FREQUENCIES, HIDDEN = 27, 2, 128  # the canonical decoder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--samples", type=int, default=50_000, help="colour samples a call")
    parser.add_argument("--threads", type=int, default=1, help="threads; with 1, processor time is reported")
    parser.add_argument("--repeats", type=int, default=7, help="timed calls of each kind, taken in turn")


def interleaved(calls: dict[str, Callable[[], object]], repeats: int, threads: int) -> dict[str, float]:
    """Median milliseconds of each call, after one untimed round; processor time where one thread works."""
    clock = time.process_time if threads == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(repeats + 1):
        for name, call in calls.items():
            begin = clock()
            call()
            if number:
                seconds[name].append(clock() - begin)
    return {name: 1e3 * statistics.median(values) for name, values in seconds.items()}


def run(args: argparse.Namespace) -> dict:
    """Time the decoder; GFLOP/s count the products that the result needs, not those that backward repeats."""
    torch.set_num_threads(args.threads)
    generator = torch.Generator().manual_seed(0)
    inputs = decoder_inputs(FEATURES, FREQUENCIES, FREQUENCIES)
    sizes = ((HIDDEN, inputs), (HIDDEN,), (HIDDEN, HIDDEN), (HIDDEN,), (3, HIDDEN), (3,))
    weights = DecoderWeights(
        *((torch.randn(s, generator=generator) / s[-1] ** 0.5).requires_grad_() for s in sizes)
    )
    features = torch.randn(args.samples, FEATURES, generator=generator).requires_grad_()
    directions = torch.nn.functional.normalize(torch.randn(args.samples, 3, generator=generator), dim=-1)
    upstream = torch.randn(args.samples, 3, generator=generator)

    def train(forward: Callable[[], torch.Tensor]) -> None:
        torch.autograd.grad(forward(), (features, *weights), upstream)

    def native(keep_activations: bool = False) -> torch.Tensor:
        return decode_color(
            features, directions, weights, feature_frequencies=FREQUENCIES, view_frequencies=FREQUENCIES,
            keep_activations=keep_activations,
        )  # fmt: skip

    def plain() -> torch.Tensor:
        return reference.decode_color(features, directions, *weights, FREQUENCIES, FREQUENCIES)

    left, right = torch.randn(args.samples, inputs), torch.randn(inputs, HIDDEN)
    implementation = backend.implementation("decode_color", features)
    calls = {
        "native": lambda: train(native),
        "native_kept": lambda: train(lambda: native(keep_activations=True)),
        "native_forward": torch.no_grad()(native),
        "reference": lambda: train(plain),
        "reference_forward": torch.no_grad()(plain),
        "product": lambda: left @ right,
    }
    milliseconds = interleaved(calls, args.repeats, args.threads)
    products = inputs * HIDDEN + HIDDEN * HIDDEN + HIDDEN * 3
    flops = {"forward": 2 * products, "train": 6 * products - 2 * HIDDEN * (3 + 6 * FREQUENCIES)}
    ceiling = args.samples * 2 * inputs * HIDDEN / milliseconds["product"] / 1e6
    rate = args.samples * flops["train"] / milliseconds["native"] / 1e6
    return {
        "op": "decode_color", "implementation": implementation, "samples": args.samples, "threads": args.threads,
        "native_ms": milliseconds["native"], "native_kept_ms": milliseconds["native_kept"],
        "reference_ms": milliseconds["reference"], "ratio": milliseconds["reference"] / milliseconds["native"],
        "native_forward_ms": milliseconds["native_forward"], "reference_forward_ms": milliseconds["reference_forward"],
        "ratio_forward": milliseconds["reference_forward"] / milliseconds["native_forward"],
        "gflops": rate, "gflops_forward": args.samples * flops["forward"] / milliseconds["native_forward"] / 1e6,
        "gflops_torch_mm": ceiling, "share_of_torch_mm": rate / ceiling,
        "share_of_torch_mm_forward": args.samples * flops["forward"] / milliseconds["native_forward"] / 1e6 / ceiling,
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    print(json.dumps(run(parser.parse_args())))
