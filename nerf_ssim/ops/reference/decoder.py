"""The colour decoder in plain PyTorch: the specification of `nerf_ssim.ops.decoder` for any float dtype and device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def positional_encoding(values: Tensor, frequencies: int) -> Tensor:
    """`[sin(all), cos(all)]` of `values [n, d]` times 1, 2, 4 … -> `[n, 2 * d * frequencies]`, frequency fastest."""
    factors = 2.0 ** torch.arange(frequencies, dtype=values.dtype, device=values.device)
    angles = (values.unsqueeze(-1) * factors).flatten(-2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def decoder_input(features: Tensor, directions: Tensor, feature_frequencies: int, view_frequencies: int) -> Tensor:
    """`[features, directions, PE(features), PE(directions)]`; an encoding of 0 frequencies is absent."""
    parts = [features, directions]
    if feature_frequencies > 0:
        parts.append(positional_encoding(features, feature_frequencies))
    if view_frequencies > 0:
        parts.append(positional_encoding(directions, view_frequencies))
    return torch.cat(parts, dim=-1)


def decode_color(
    features: Tensor,
    directions: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    w3: Tensor,
    b3: Tensor,
    feature_frequencies: int,
    view_frequencies: int,
    linear: Callable[[Tensor, Tensor, Tensor], Tensor] = F.linear,
) -> Tensor:
    """Encoding, two ReLU layers and a sigmoid; arguments as `nerf_ssim.ops.decoder.decode_color`.

    `linear(input, weight, bias)` computes each product: `F.linear`, or `linear_bfloat16` below.
    """
    hidden = decoder_input(features, directions, feature_frequencies, view_frequencies)
    hidden = torch.relu(linear(hidden, w1, b1))
    hidden = torch.relu(linear(hidden, w2, b2))
    return torch.sigmoid(linear(hidden, w3, b3))


def round_to_bfloat16(values: Tensor) -> Tensor:
    """The nearest bfloat16 of each value, in the dtype it came in."""
    return values.to(torch.bfloat16).to(values.dtype)


class _LinearBfloat16(torch.autograd.Function):
    """`F.linear` whose three products (forward and both gradients) take operands rounded to bfloat16."""

    generate_vmap_rule = True

    @staticmethod
    def forward(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.linear(round_to_bfloat16(inputs), round_to_bfloat16(weight), bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        inputs, weight = (round_to_bfloat16(each) for each in ctx.saved_tensors)
        rounded = round_to_bfloat16(grad_output)
        return rounded @ weight, rounded.T @ inputs, grad_output.sum(0)


def linear_bfloat16(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`inputs @ weight.T + bias` with both operands of each product, forward and backward, rounded to bfloat16.

    Sums stay in the dtype of `inputs`. This is what a bf16 matrix unit with float32 accumulators computes.
    """
    return _LinearBfloat16.apply(inputs, weight, bias)
