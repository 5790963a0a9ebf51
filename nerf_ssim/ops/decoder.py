"""Colour of a sample from its appearance feature and its viewing direction: encoding, a small MLP, sigmoid.

The CPU's kernel runs tiles of samples whose activations stay in a core's cache, forward and backward. With
`precision="bf16"` its products take bfloat16 operands where the CPU multiplies them in hardware. On a GPU
`ops.decoder_products` multiplies through cuBLAS and has kernels for the rest; without the extension `ops.decoder_bf16`
serves bf16 through PyTorch's own products.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nerf_ssim.ops import backend, bf16_units, decoder_bf16, decoder_products
from nerf_ssim.ops.calls import GradientCall
from nerf_ssim.ops.declaration import Op, declare
from nerf_ssim.ops.differentiation import has_tangent
from nerf_ssim.ops.example_values import uniform
from nerf_ssim.ops.reference import decoder as reference

PRECISIONS = ("float32", "tf32", "bf16")


class DecoderWeights(NamedTuple):
    """The three layers, each `[outputs, inputs]` and `[outputs]` as `torch.nn.Linear` keeps them."""

    w1: Tensor
    b1: Tensor
    w2: Tensor
    b2: Tensor
    w3: Tensor
    b3: Tensor


def decoder_inputs(features: int, feature_frequencies: int, view_frequencies: int) -> int:
    """Width of the first layer's input: features and direction, each with its encoding (27, 2, 2 -> 150)."""
    return (features + 3) + 2 * features * feature_frequencies + 2 * 3 * view_frequencies


def positional_encoding(values: Tensor, frequencies: int) -> Tensor:
    """Sines and cosines of `values` at octave frequencies.

    Args:
        values: `[n, d]`, any float dtype; radians at the lowest frequency (no factor pi).
        frequencies: octaves, >= 0; octave k multiplies by 2^k.
    Returns:
        `[n, 2 * d * frequencies]`: every sine, then every cosine, each ordered (dimension, frequency) with
        frequency fastest. Differentiable.
    Source: the encoding of TensoRF's MLP decoders (NeRF's, eq. 4, without pi and in another order).
    """
    return reference.positional_encoding(values, frequencies)


def decode_color(
    features: Tensor,
    directions: Tensor,
    layers: DecoderWeights,
    *,
    feature_frequencies: int,
    view_frequencies: int,
    precision: str = "float32",
) -> Tensor:
    """Colour of each sample: `sigmoid(L3(relu(L2(relu(L1(input))))))`.

    The input is `[features, directions, PE(features), PE(directions)]`, PE being `positional_encoding`.

    Args:
        features: appearance features, `[n, F]`.
        directions: unit viewing directions, `[n, 3]`.
        layers: the MLP; `w1 [H1, inputs]`, `w2 [H2, H1]`, `w3 [3, H2]` and their biases.
        feature_frequencies, view_frequencies: octaves of the two encodings; 0 leaves that encoding out.
        precision: `"float32"`; `"bf16"`, which rounds both operands of each product to bfloat16, or `"tf32"`, which
            has them rounded to TensorFloat-32, with sums in float32: where `effective_precision` says that the device
            does so, else as float32.
    Returns:
        rgb in (0, 1), `[n, 3]`, differentiable. Natively it is so in `features` and in all six weights.
    Raises:
        ValueError: shapes that do not fit together, or an unknown precision.
    Source: TensoRF (Chen et al. 2022), decoder MLP_Fea; with `feature_frequencies=0`, DVGO's colour network.
    """
    _check_shapes(features, directions, layers, feature_frequencies, view_frequencies)
    precision = effective_precision(precision, features.device)[0]
    return DECODE_COLOR(features, directions, *layers, feature_frequencies, view_frequencies, precision)


def effective_precision(precision: str, device: torch.device | str = "cpu") -> tuple[str, str]:
    """What `decode_color(precision=…)` computes in on a device of this machine, and why.

    Returns:
        `("float32" | "tf32" | "bf16", reason)`. `"tf32"` is honoured on GPUs of compute capability 8.0 and later that
        the CUDA kernels serve; a CPU has no such products. `"bf16"` is honoured where the device multiplies bfloat16 in
        hardware (by the native kernels where `bf16_units.FASTER_ON` has that processor), and by the reference backend
        (`NERF_SSIM_BACKEND=reference`), which rounds operands in software: slow, but it shows on any machine what the
        precision does to quality. Elsewhere it falls to float32, which is then faster.
    Raises:
        ValueError: an unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"decoder precision {precision!r} is unknown; use one of {', '.join(PRECISIONS)}")
    if precision == "float32":
        return "float32", "as asked"
    if precision == "tf32":
        return _effective_tf32(torch.device(device))
    if _rounds_in_software():
        return "bf16", "operands rounded in software (reference backend)"
    device = torch.device(device)
    if device.type == "cpu" and backend.implementation("decode_color") == "native":
        unit, name = bf16_units.native_unit(), "the CPU"
        if unit and not bf16_units.is_faster(unit):
            return "float32", f"bf16 asked for, but the CPU's {unit} was not measured to be faster than float32"
    else:
        unit, name = bf16_units.torch_unit(device)
    if unit:
        return "bf16", f"{name} multiplies bfloat16 in hardware ({unit})"
    units = "tensor cores of compute capability 8.0" if device.type == "cuda" else "AMX or AVX512_BF16"
    return "float32", f"bf16 asked for, but {name} has no bfloat16 products ({units})"


def _effective_tf32(device: torch.device) -> tuple[str, str]:
    """`effective_precision` of `"tf32"`."""
    if device.type != "cuda":
        return "float32", "tf32 asked for, but only GPUs have TensorFloat-32 products"
    unit, name = bf16_units.torch_unit(device)
    if not unit:
        return "float32", f"tf32 asked for, but {name} has no TensorFloat-32 products (they came with 8.0)"
    implementation, reason = backend.describe(device)["decode_color"]
    if implementation == "reference":
        return "float32", f"tf32 asked for, which only the CUDA kernels have ({reason})"
    return "tf32", f"{name} multiplies TensorFloat-32 in hardware ({unit})"


def _rounds_in_software() -> bool:
    return os.environ.get("NERF_SSIM_BACKEND", "auto") == "reference"


def _check_shapes(
    features: Tensor, directions: Tensor, layers: DecoderWeights, feature_frequencies: int, view_frequencies: int
) -> None:
    if features.dim() != 2 or directions.shape != (features.shape[0], 3):
        shapes = f"{list(features.shape)} and {list(directions.shape)}"
        raise ValueError(f"decoder: features must be [n, F] and directions [n, 3], not {shapes}")
    if feature_frequencies < 0 or view_frequencies < 0:
        raise ValueError("decoder: numbers of frequencies must be >= 0")
    inputs = decoder_inputs(features.shape[1], feature_frequencies, view_frequencies)
    widths = inputs, layers.w1.shape[0], layers.w2.shape[0]
    for number, (weight, bias, width) in enumerate(zip(layers[0::2], layers[1::2], widths, strict=True)):
        if weight.dim() != 2 or weight.shape[1] != width or bias.shape != weight.shape[:1]:
            raise ValueError(
                f"decoder: layer {number + 1} must be [outputs, {width}] with a bias of [outputs], "
                f"not {list(weight.shape)} and {list(bias.shape)}"
            )
    if layers.w3.shape[0] != 3:
        raise ValueError(f"decoder: the last layer must have 3 outputs (red, green, blue), not {layers.w3.shape[0]}")


def _in_plain_pytorch(
    features: Tensor, directions: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor,
    feature_frequencies: int, view_frequencies: int, precision: str,
) -> Tensor:  # fmt: skip
    """The specification; products in bfloat16 by PyTorch's own where it has them and no other derivative is asked."""
    inputs = features, directions, w1, b1, w2, b2, w3, b3, feature_frequencies, view_frequencies
    if precision != "bf16":  # what TensorFloat-32 rounds is no part of the specification
        return reference.decode_color(*inputs)
    is_plain = not (directions.requires_grad and torch.is_grad_enabled()) and not has_tangent(inputs)
    if is_plain and features.dtype == torch.float32 and not _rounds_in_software():
        return decoder_bf16.decode_color(*inputs)
    return reference.decode_color(*inputs, linear=reference.linear_bfloat16)


def multiplies_by_library(features: Tensor) -> bool:
    """Whether the products are cuBLAS's, with kernels of ours between them, and not the CPU's kernel."""
    return features.is_cuda


def _forward(needs: tuple[bool, ...], resource: None, features: Tensor, *others: Any) -> Tensor | tuple[Tensor, ...]:
    """Colours, and on a GPU what the backward pass needs where one is wanted."""
    if not multiplies_by_library(features):
        return torch.ops.nerf_ssim.decode_color(features, *others)
    if torch.compiler.is_compiling():  # which fuses what lies between the products by itself
        return _in_plain_pytorch(features, *others)
    outputs = decoder_products.forward(features, *others)
    return outputs if any(needs) else outputs[0]


def _gradient(call: GradientCall) -> Sequence[Tensor | None]:
    *inputs, precision = call.args
    (grad_rgb,) = call.upstream
    assert grad_rgb is not None  # of the only result
    if multiplies_by_library(inputs[0]):
        # A transform of functions may ask for a gradient that did not show at the call.
        kept = call.kept if len(call.kept) > 1 else decoder_products.forward(*call.args)
        features, _, w1, _, w2, _, w3, _, octaves, view_octaves = inputs
        return decoder_products.backward(
            grad_rgb,
            decoder_products.Kept(*kept),
            features,
            w1,
            w2,
            w3,
            octaves,
            view_octaves,
            precision,
            call.needs[0],
        )
    (rgb,) = call.kept
    return torch.ops.nerf_ssim.decode_color_backward(grad_rgb, rgb, *inputs, call.needs[0], precision)


def _gradient_shapes(grad_rgb: Tensor, rgb: Tensor, features: Tensor, directions: Tensor, *others: Any) -> list[Tensor]:
    want_features = others[8]
    grad_features = features.new_empty(features.shape[0] if want_features else 0, features.shape[1])
    return [grad_features, *(torch.empty_like(weight) for weight in others[:6])]


def _row_shapes(features: Tensor, directions: Tensor, *others: Any) -> Tensor:
    width, is_bfloat16 = others[2:]
    return features.new_empty(len(features), width, dtype=torch.bfloat16 if is_bfloat16 else torch.float32)


def _sum_shapes(hidden: Tensor, sums: int) -> Tensor:
    """Sums of each block of samples, as the GPU's kernels return them."""
    return hidden.new_empty(-(-hidden.shape[0] // _SAMPLES_OF_A_BLOCK), sums, dtype=torch.float32)


def _examples() -> Iterator[tuple[Any, ...]]:
    for samples, features, frequencies, hidden in (
        (41, 5, (1, 0), (33, 21)),
        (1, 12, (0, 4), (16, 16)),
        (70, 7, (2, 2), (32, 40)),
    ):
        inputs = decoder_inputs(features, *frequencies)
        sizes = (hidden[0], inputs), (hidden[0],), (hidden[1], hidden[0]), (hidden[1],), (3, hidden[1]), (3,)
        layers = (uniform(*size, low=-1, seed=seed) / size[-1] ** 0.5 for seed, size in enumerate(sizes))
        directions = torch.nn.functional.normalize(uniform(samples, 3, low=-1, seed=7), dim=1)
        yield uniform(samples, features, low=-1, seed=8), directions, *layers, *frequencies, "float32"


_SAMPLES_OF_A_BLOCK = 512
_WEIGHTS = "Tensor w1, Tensor b1, Tensor w2, Tensor b2, Tensor w3, Tensor b3"
DECODE_COLOR = declare(
    Op(
        name="decode_color",
        operators={
            f"decode_color(Tensor features, Tensor directions, {_WEIGHTS}, int feature_frequencies,"
            " int view_frequencies, str precision) -> Tensor": (
                lambda features, *_: features.new_empty(features.shape[0], 3)
            ),
            f"decode_color_backward(Tensor grad_rgb, Tensor rgb, Tensor features, Tensor directions, {_WEIGHTS},"
            " int feature_frequencies, int view_frequencies, bool want_features, str precision)"
            " -> Tensor[]": _gradient_shapes,
            "decoder_inputs(Tensor features, Tensor directions, int feature_frequencies, int view_frequencies,"
            " int width, bool is_bfloat16) -> Tensor": _row_shapes,
            "decoder_inputs_backward(Tensor grad, Tensor features, int feature_frequencies, int view_frequencies)"
            " -> Tensor": lambda grad, features, *_: torch.empty_like(features),
            "decoder_last_layer_backward(Tensor grad_rgb, Tensor rgb, Tensor hidden, Tensor w3) -> (Tensor, Tensor)": (
                lambda grad_rgb, rgb, hidden, w3: (
                    torch.empty_like(hidden),
                    _sum_shapes(hidden, 4 * hidden.shape[1] + 3),
                )
            ),
            "decoder_relu_backward(Tensor(a!) grad, Tensor hidden) -> Tensor": (
                lambda grad, hidden: _sum_shapes(hidden, hidden.shape[1])
            ),
        },
        kernels={
            "cpu": ("decode_color", "decode_color_backward"),
            "cuda": (
                "decoder_inputs",
                "decoder_inputs_backward",
                "decoder_last_layer_backward",
                "decoder_relu_backward",
            ),
        },
        reference=_in_plain_pytorch,
        forward=_forward,
        differentiable=("features", "w1", "b1", "w2", "b2", "w3", "b3"),
        gradient=_gradient,
        keeps=(0,),
        examples=_examples,
    )
)
