"""The colour decoder, forward and backward, and the share that it reaches of torch's matrix product at its shape."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

from benchmarks.timing import compare
from nerf_ssim.ops.decoder import PRECISIONS, DecoderWeights, decode_color, decoder_inputs, effective_precision

FEATURES, FREQUENCIES, HIDDEN = 27, 2, 128  # the canonical decoder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How many samples, and in which precision."""
    parser.add_argument("--samples", type=int, default=50_000, help="colour samples a call (default %(default)s)")
    parser.add_argument("--decoder_precision", choices=PRECISIONS, default="float32", help="of the products")


def run(args: argparse.Namespace, options: Sequence[str] = ()) -> list[dict[str, object]]:
    """Time training and forward; GFLOP/s count no product that is computed twice."""
    torch.set_num_threads(args.threads)
    generator = torch.Generator().manual_seed(0)
    inputs = decoder_inputs(FEATURES, FREQUENCIES, FREQUENCIES)
    shapes = ((HIDDEN, inputs), (HIDDEN,), (HIDDEN, HIDDEN), (HIDDEN,), (3, HIDDEN), (3,))
    weights = DecoderWeights(*((torch.randn(s, generator=generator) / s[-1] ** 0.5).requires_grad_() for s in shapes))
    features = torch.randn(args.samples, FEATURES, generator=generator).requires_grad_()
    directions = torch.nn.functional.normalize(torch.randn(args.samples, 3, generator=generator), dim=-1)
    upstream = torch.randn(args.samples, 3, generator=generator)

    def forward() -> torch.Tensor:
        return decode_color(
            features, directions, weights, feature_frequencies=FREQUENCIES, view_frequencies=FREQUENCIES,
            precision=args.decoder_precision,
        )  # fmt: skip

    def train() -> None:
        torch.autograd.grad(forward(), (features, *weights), upstream)

    left, right = torch.randn(args.samples, inputs), torch.randn(inputs, HIDDEN)
    others = {"product": lambda: left @ right}
    products = inputs * HIDDEN + HIDDEN * HIDDEN + HIDDEN * 3
    flops = {"train": 6 * products - 2 * HIDDEN * (3 + 6 * FREQUENCIES), "forward": 2 * products}
    records = []
    for phase, call in (("train", train), ("forward", torch.no_grad()(forward))):
        record = compare(
            "decode_color", call, args.repeats, has_reference=args.reference, others=others, phase=phase,
            samples=args.samples, precision=effective_precision(args.decoder_precision)[0],
        )  # fmt: skip
        rate = 1e-6 * args.samples * flops[phase] / record["native_ms"]
        ceiling = 2e-6 * args.samples * inputs * HIDDEN / record["product_ms"]
        figures = {"gflops": rate, "gflops_torch_mm": ceiling, "share_of_torch_mm": rate / ceiling}
        records.append(record | {name: round(value, 3) for name, value in figures.items()})
    return records
