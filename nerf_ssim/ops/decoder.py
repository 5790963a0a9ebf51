"""Colour of a sample from its appearance feature and its viewing direction: encoding, a small MLP, sigmoid.

The native kernel runs tiles of samples whose activations stay in a core's cache, forward and backward. With
`precision="bf16"` its products take bfloat16 operands where the CPU multiplies them in hardware; `ops.decoder_bf16`
serves GPUs, and CPUs without the extension, through torch's own products.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import torch
from torch import Tensor

from nerf_ssim.ops import backend, bf16_units, decoder_bf16
from nerf_ssim.ops.reference import decoder as reference

PRECISIONS = ("float32", "bf16")
_HAS_NATIVE = backend.declare("decode_color")


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
        directions: unit viewing directions, `[n, 3]`; treated as constants.
        layers: the MLP; `w1 [H1, inputs]`, `w2 [H2, H1]`, `w3 [3, H2]` and their biases.
        feature_frequencies, view_frequencies: octaves of the two encodings; 0 leaves that encoding out.
        precision: `"float32"`, or `"bf16"`: both operands of each product are rounded to bfloat16 and sums stay
            float32, where `effective_precision` says that the device does so; else as float32.
    Returns:
        rgb in (0, 1), `[n, 3]`, differentiable in `features` and in all six weights.
    Raises:
        ValueError: shapes that do not fit together, or an unknown precision.
    Source: TensoRF (Chen et al. 2022), decoder MLP_Fea; with `feature_frequencies=0`, DVGO's colour network.
    """
    _check_shapes(features, directions, layers, feature_frequencies, view_frequencies)
    directions = directions.detach()
    precision = effective_precision(precision, features.device)[0]
    frequencies = feature_frequencies, view_frequencies
    if backend.implementation("decode_color", features, directions, *layers) == "native":
        return torch.ops.nerf_ssim.decode_color(features, directions, *layers, *frequencies, precision)
    if precision == "float32":
        return reference.decode_color(features, directions, *layers, *frequencies)
    if features.dtype == torch.float32 and not _rounds_in_software():
        return decoder_bf16.decode_color(features, directions, *layers, *frequencies)
    return reference.decode_color(features, directions, *layers, *frequencies, linear=reference.linear_bfloat16)


def effective_precision(precision: str, device: torch.device | str = "cpu") -> tuple[str, str]:
    """What `decode_color(precision=…)` computes in on a device of this machine, and why.

    Returns:
        `("float32" | "bf16", reason)`. `"bf16"` is honoured where the device multiplies bfloat16 in hardware, and by
        the reference backend (`NERF_SSIM_BACKEND=reference`), which rounds operands in software: slow, but it shows on
        any machine what the precision does to quality. Elsewhere it falls to float32, which is then faster.
    Raises:
        ValueError: an unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"decoder precision {precision!r} is unknown; use one of {', '.join(PRECISIONS)}")
    if precision == "float32":
        return "float32", "as asked"
    if _rounds_in_software():
        return "bf16", "operands rounded in software (reference backend)"
    device = torch.device(device)
    if device.type == "cpu" and backend.implementation("decode_color") == "native":
        unit, name = bf16_units.native_unit(), "the CPU"
    else:
        unit, name = bf16_units.torch_unit(device)
    if unit:
        return "bf16", f"{name} multiplies bfloat16 in hardware ({unit})"
    units = "tensor cores of compute capability 8.0" if device.type == "cuda" else "AMX or AVX512_BF16"
    return "float32", f"bf16 asked for, but {name} has no bfloat16 products ({units})"


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


def _forward_fake(
    features, directions, w1, b1, w2, b2, w3, b3, feature_frequencies, view_frequencies, precision
):  # fmt: skip
    return features.new_empty(features.shape[0], 3)


def _backward_fake(
    grad_rgb, rgb, features, directions, w1, b1, w2, b2, w3, b3, feature_frequencies, view_frequencies,
    want_features, precision,
):  # fmt: skip
    grad_features = features.new_empty(features.shape[0] if want_features else 0, features.shape[1])
    return [grad_features, *(torch.empty_like(weight) for weight in (w1, b1, w2, b2, w3, b3))]


def _setup_context(ctx, inputs, output) -> None:
    *tensors, ctx.feature_frequencies, ctx.view_frequencies, ctx.precision = inputs
    ctx.save_for_backward(output, *tensors)


def _backward(ctx, grad_rgb):
    gradients = torch.ops.nerf_ssim.decode_color_backward(
        grad_rgb, *ctx.saved_tensors, ctx.feature_frequencies, ctx.view_frequencies, ctx.needs_input_grad[0],
        ctx.precision,
    )  # fmt: skip
    grad_features, *grad_weights = gradients
    return grad_features if ctx.needs_input_grad[0] else None, None, *grad_weights, None, None, None


if _HAS_NATIVE:
    torch.library.register_fake("nerf_ssim::decode_color")(_forward_fake)
    torch.library.register_fake("nerf_ssim::decode_color_backward")(_backward_fake)
    torch.library.register_autograd("nerf_ssim::decode_color", _backward, setup_context=_setup_context)
