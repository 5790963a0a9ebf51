"""The colour decoder around its products: cases against float64 autograd of the reference, and planted defects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from simulator import Case, Kernel, Mutation, single, unwritten
from torch import Tensor

from nerf_ssim.ops.decoder import decoder_inputs
from nerf_ssim.ops.reference.decoder import decoder_input

SAMPLES_OF_A_BLOCK = 512  # kDecoderSamples
# Samples, features, octaves of both encodings; more samples than a block has, one, none; angles beyond the reduction's.
ENCODINGS = [(70, 27, 2, 2), (33, 5, 1, 0), (40, 12, 0, 4), (1, 3, 3, 1), (0, 4, 1, 1)]
LARGE_ANGLES = 1
# Samples and width: several blocks, widths that do not come in fours, more columns than a block has threads, one, none.
HIDDEN = [(1100, 24), (40, 21), (9, 1056), (5, 260), (1, 8), (0, 8)]


def bits_of(values: Tensor) -> np.ndarray:
    """The nearest bfloat16 of each value as its bits."""
    return values.detach().float().bfloat16().view(torch.int16).numpy().view(np.uint16).copy()


def as_numbers(values: Tensor, is_bfloat16: bool) -> np.ndarray:
    """Rows as the launchers take them."""
    return bits_of(values) if is_bfloat16 else single(values)


def rounded(values: Tensor, is_bfloat16: bool) -> Tensor:
    """What the rows hold of the values."""
    return values.float().bfloat16().double() if is_bfloat16 else values.float().double()


def unwritten_numbers(samples: int, width: int, is_bfloat16: bool) -> np.ndarray:
    """Rows that nobody has written."""
    return np.full((samples, width), 0xFFFF, np.uint16) if is_bfloat16 else unwritten(samples, width)


@dataclass(frozen=True)
class Encoded:
    """Features, directions and their input rows."""

    features: Tensor
    directions: Tensor
    struct: dict[str, int]
    name: str

    @property
    def octaves(self) -> tuple[int, int]:
        """Of features and directions."""
        return self.struct["feature_frequencies"], self.struct["view_frequencies"]


def encodings() -> list[Encoded]:
    """Each of ENCODINGS; in one of them a feature is beyond where angles are reduced exactly."""
    made = []
    for place, (samples, count, octaves, view_octaves) in enumerate(ENCODINGS):
        generator = torch.Generator().manual_seed(samples)
        features = torch.randn(samples, count, generator=generator) * 3
        if place == LARGE_ANGLES:
            features[3, 2], features[4, 0] = 9000.0, -1e6
        directions = torch.randn(samples, 3, generator=generator)
        width = -(-decoder_inputs(count, octaves, view_octaves) // 8) * 8
        struct = {"features": count, "feature_frequencies": octaves, "view_frequencies": view_octaves, "width": width}
        made.append(
            Encoded(features, directions, struct, f"{samples} of {count}, octaves {octaves} and {view_octaves}")
        )
    return made


def input_cases() -> list[Case]:
    """Rows in both formats."""
    cases = []
    for place, case in enumerate(encodings()):
        rows = decoder_input(case.features.double(), case.directions.double(), *case.octaves)
        samples, width = len(rows), case.struct["width"]
        rows = torch.nn.functional.pad(rows, (0, width - rows.shape[1]))
        for is_bfloat16 in (False, True):
            size = 2 if is_bfloat16 else 4
            cases.append(
                Case(
                    name=f"{case.name}, {'bfloat16' if is_bfloat16 else 'float32'}",
                    launcher="launch_decoder_inputs",
                    arguments={
                        "encoding": case.struct,
                        "features": single(case.features),
                        "directions": single(case.directions),
                        "samples": samples,
                        "is_bfloat16": is_bfloat16,
                        "inputs": unwritten_numbers(samples, width, is_bfloat16),
                    },
                    expected={"inputs": bits_of(rows) if is_bfloat16 else rows.numpy()},
                    tolerance=3e-7,
                    elements=samples if place == 0 else 0,
                    floor=(4 * (case.features.shape[1] + 3), size * width),
                )
            )
    return cases


def input_gradient_cases() -> list[Case]:
    """Gradients of rows in both formats."""
    cases = []
    for place, case in enumerate(encodings()):
        samples, width = len(case.features), case.struct["width"]
        for is_bfloat16 in (False, True):
            grad = torch.randn(samples, width, generator=torch.Generator().manual_seed(7))
            features = case.features.double().requires_grad_()
            rows = decoder_input(features, case.directions.double(), *case.octaves)
            upstream = rounded(grad, is_bfloat16)[:, : rows.shape[1]]
            (expected,) = torch.autograd.grad(rows, features, upstream)
            cases.append(
                Case(
                    name=f"{case.name}, {'bfloat16' if is_bfloat16 else 'float32'}",
                    launcher="launch_decoder_inputs_backward",
                    arguments={
                        "encoding": case.struct,
                        "features": single(case.features),
                        "grad": as_numbers(grad, is_bfloat16),
                        "samples": samples,
                        "is_bfloat16": is_bfloat16,
                        "grad_features": unwritten(samples, case.features.shape[1]),
                    },
                    expected={"grad_features": expected.numpy()},
                    elements=samples if place == 0 else 0,
                    floor=(4 * case.features.shape[1] + (2 if is_bfloat16 else 4) * 5 * case.features.shape[1],
                           4 * case.features.shape[1]),
                )
            )  # fmt: skip
    return cases


def by_block(values: Tensor) -> Tensor:
    """Sums over each block of samples."""
    return torch.stack([block.sum(0) for block in values.split(SAMPLES_OF_A_BLOCK)]) if len(values) else values


def hidden_numbers(samples: int, width: int, is_bfloat16: bool) -> Tensor:
    """Numbers after a ReLU."""
    hidden = torch.randn(samples, width, generator=torch.Generator().manual_seed(width)).clamp(min=0)
    return rounded(hidden, is_bfloat16)


def hidden_struct(hidden: Tensor, grad: np.ndarray, sums: np.ndarray, is_bfloat16: bool) -> dict:
    """DecoderHidden."""
    samples, width = hidden.shape
    return {
        "samples": samples, "width": width, "is_bfloat16": is_bfloat16, "hidden": as_numbers(hidden, is_bfloat16),
        "grad": grad, "sums": sums,
    }  # fmt: skip


def relu_cases() -> list[Case]:
    """Gradients through a ReLU in both formats."""
    cases = []
    for place, (samples, width) in enumerate(HIDDEN):
        for is_bfloat16 in (False, True):
            hidden = hidden_numbers(samples, width, is_bfloat16)
            grad = rounded(torch.randn(samples, width, generator=torch.Generator().manual_seed(3)), is_bfloat16)
            passed = torch.where(hidden > 0, grad, 0.0)
            blocks = -(-samples // SAMPLES_OF_A_BLOCK)
            rows = hidden_struct(hidden, as_numbers(grad, is_bfloat16), unwritten(blocks, width), is_bfloat16)
            size = 2 if is_bfloat16 else 4
            cases.append(
                Case(
                    name=f"{samples} x {width}, {'bfloat16' if is_bfloat16 else 'float32'}",
                    launcher="launch_decoder_relu_backward",
                    arguments={"rows": rows},
                    expected={"rows": {"grad": as_numbers(passed, is_bfloat16), "sums": by_block(passed).numpy()}},
                    elements=samples if place == 0 else 0,
                    floor=(2 * size * width, size * width),
                )
            )
    return cases


def last_layer_cases() -> list[Case]:
    """Gradients through colours, last layer and ReLU in both formats."""
    cases = []
    for place, (samples, width) in enumerate(HIDDEN):
        for is_bfloat16 in (False, True):
            generator = torch.Generator().manual_seed(samples)
            hidden = hidden_numbers(samples, width, is_bfloat16)
            w3 = rounded(torch.randn(3, width, generator=generator), is_bfloat16)
            rgb = torch.rand(samples, 3, generator=generator).double()
            grad_rgb = torch.randn(samples, 3, generator=generator).double()
            outputs = grad_rgb * rgb * (1 - rgb)
            operands = rounded(outputs, is_bfloat16)
            grad = torch.where(hidden > 0, operands @ w3, 0.0)
            of_w3 = torch.einsum("sc,sh->sch", operands, hidden).flatten(1)
            sums = by_block(torch.cat([of_w3, grad, outputs], dim=1))
            blocks, size = -(-samples // SAMPLES_OF_A_BLOCK), 2 if is_bfloat16 else 4
            empty = unwritten_numbers(samples, width, is_bfloat16)
            rows = hidden_struct(hidden, empty, unwritten(blocks, 4 * width + 3), is_bfloat16)
            cases.append(
                Case(
                    name=f"{samples} x {width}, {'bfloat16' if is_bfloat16 else 'float32'}",
                    launcher="launch_decoder_last_layer_backward",
                    arguments={
                        "layer": {"grad_rgb": single(grad_rgb), "rgb": single(rgb), "w3": single(w3)},
                        "rows": rows,
                    },
                    expected={"rows": {"grad": as_numbers(grad, is_bfloat16), "sums": sums.numpy()}},
                    elements=samples if place == 0 else 0,
                    floor=(size * width + 24, size * width),
                )
            )
    return cases


KERNELS = [
    Kernel(
        name="decoder_inputs",
        source="decoder.cu",
        what="The colour decoder's input rows: features, directions, their sines and cosines, and zeros up to a "
        "multiple of eight, in float32 or bfloat16. One thread owns four neighbouring numbers of a row.",
        entries=("decoder_inputs<float>", "decoder_inputs<nerf_ssim::Bfloat16>"),
        cases=input_cases,
        mutations=(
            Mutation("padding not written", "      else\n        value = 0.0f;\n", "", "value"),
            Mutation("cosines are sines", "values[angle / frequencies] * power_of_two(angle % frequencies), is_cosine)",
                     "values[angle / frequencies] * power_of_two(angle % frequencies), 0)", "value"),
            Mutation("one sample too many", "here * chunks; i +=", "(here + 1) * chunks; i +=", "bounds"),
            Mutation("octaves slowest", "values[angle / frequencies] * power_of_two(angle % frequencies)",
                     "values[angle % (angles / frequencies)] * power_of_two(angle / (angles / frequencies))", "value"),
            Mutation("bfloat16 cut off", "(bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16", "bits >> 16", "value",
                     "bfloat16.cuh"),
        ),
    ),
    Kernel(
        name="decoder_inputs_backward",
        source="decoder.cu",
        what="The features' gradient from that of the rows. One thread owns a feature of a sample.",
        entries=("decoder_inputs_backward<float>", "decoder_inputs_backward<nerf_ssim::Bfloat16>"),
        cases=input_gradient_cases,
        mutations=(
            Mutation("octave forgotten", "sum = fmaf(factor, along, sum);", "sum += along;", "value"),
            Mutation("cosines grow", ".at[0] * sine(angle, 1) -", ".at[0] * sine(angle, 1) +", "value"),
            Mutation("one sample too many", "here * count; i +=", "(here + 1) * count; i +=", "bounds"),
            Mutation("cosines where sines are", "load<1>(of_sine + angles)", "load<1>(of_sine)", "value"),
        ),
    ),
    Kernel(
        name="decoder_last_layer_backward",
        source="decoder.cu",
        what="The gradient through the colours' sigmoids, the last layer's three outputs and the ReLU before it, with "
        "the sums for the gradients of the last weights and of both biases. A block owns 512 samples, a thread four "
        "columns of every so many of them; the block's sums are added in a fixed order.",
        entries=("decoder_last_layer_backward<float, 4>", "decoder_last_layer_backward<float, 1>",
                 "decoder_last_layer_backward<nerf_ssim::Bfloat16, 4>",
                 "decoder_last_layer_backward<nerf_ssim::Bfloat16, 1>"),
        cases=last_layer_cases,
        mutations=(
            Mutation("slope of the sigmoid forgotten", "* colour * (1.0f - colour)", "", "value"),
            Mutation("products take whole numbers", "output[c] = rounded_to<Number>(whole);", "output[c] = whole;",
                     "value"),
            Mutation("sums overwritten while they are read",
                     "  __syncthreads();  // `of_threads` may still be read\n", "", "race"),
            Mutation("columns beyond the first threads left out", "const int first = static_cast<int>(blockIdx.y)",
                     "const int first = 0 * static_cast<int>(blockIdx.y)", "race"),
            Mutation("first colour thrice", "of_threads[row * share.columns].at[0]", "of_threads[0].at[0]", "value"),
        ),
    ),
    Kernel(
        name="decoder_relu_backward",
        source="decoder.cu",
        what="The gradient through the other ReLU, in place, with the sums for its bias. Threads and blocks as above.",
        entries=("decoder_relu_backward<float, 4>", "decoder_relu_backward<float, 1>",
                 "decoder_relu_backward<nerf_ssim::Bfloat16, 4>", "decoder_relu_backward<nerf_ssim::Bfloat16, 1>"),
        cases=relu_cases,
        mutations=(
            Mutation("sum before the ReLU", "        sum.at[k] += g.at[k];\n      }\n",
                     "      }\n      sum = load<kWidth>(grad + place);\n", "value"),
            Mutation("rows of other threads left out", "+= of_threads[row * share.columns + threadIdx.x].at[k]",
                     "+= 0.0f", "value"),
            Mutation("no barrier before the sums are read", "  of_threads[threadIdx.x] = mine;\n  __syncthreads();\n",
                     "  of_threads[threadIdx.x] = mine;\n", "race"),
            Mutation("one block too far", "end = min(first + kDecoderSamples, samples);\n  Chunk<kWidth> sum{}",
                     "end = first + kDecoderSamples;\n  Chunk<kWidth> sum{}", "bounds"),
        ),
    ),
]  # fmt: skip
