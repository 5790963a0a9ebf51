"""The colour decoder with bfloat16 products, through torch's own matmul: for GPUs, and for CPUs without the extension.

Weights stay float32.

Works in tiles, so that only the two hidden layers (2 bytes a number) outlive a tile. Sums are float32 inside each
product; torch then rounds a hidden product to bfloat16, which its ReLU's only reader, the next product, would do
anyway. The three logits are computed in float32 from rounded operands. Gradients of the weights are rounded once a tile
and summed in float32. `ops.reference.decoder.linear_bfloat16` is the specification up to those roundings.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nerf_ssim.ops.reference import decoder as reference

TILE = 8192  # samples that a CPU takes at a time: their activations stay in its caches
GPU_TILE = 1 << 18  # a GPU needs many at once; more of them would only take memory


def decode_color(
    features: Tensor, directions: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor,
    feature_frequencies: int, view_frequencies: int,
) -> Tensor:  # fmt: skip
    """`ops.decoder.decode_color` in bfloat16 products; float32 in, float32 out."""
    return _Decode.apply(features, directions, w1, b1, w2, b2, w3, b3, feature_frequencies, view_frequencies)


def _tiles(features: Tensor) -> list[slice]:
    samples, size = len(features), GPU_TILE if features.is_cuda else TILE
    return [slice(begin, min(begin + size, samples)) for begin in range(0, samples, size)]


def _hidden(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """relu(inputs @ weight.T + bias) in bfloat16; the bias is added in float32."""
    return (inputs @ weight.T).float().add_(bias).relu_().bfloat16()


class _Decode(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, directions: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor,
        b3: Tensor, feature_frequencies: int, view_frequencies: int,
    ) -> Tensor:  # fmt: skip
        rounded1, rounded2, rounded3 = (weight.bfloat16() for weight in (w1, w2, w3))
        samples = features.shape[0]
        rgb = features.new_empty(samples, 3)
        hidden1 = features.new_empty(samples, w1.shape[0], dtype=torch.bfloat16)
        hidden2 = features.new_empty(samples, w2.shape[0], dtype=torch.bfloat16)
        for tile in _tiles(features):
            inputs = reference.decoder_input(features[tile], directions[tile], feature_frequencies, view_frequencies)
            hidden1[tile] = _hidden(inputs.bfloat16(), rounded1, b1)
            hidden2[tile] = _hidden(hidden1[tile], rounded2, b2)
            rgb[tile] = (hidden2[tile].float() @ rounded3.float().T).add_(b3).sigmoid_()
        ctx.save_for_backward(features, directions, rgb, hidden1, hidden2, rounded1, rounded2, rounded3)
        ctx.frequencies = feature_frequencies, view_frequencies
        return rgb

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_rgb: Tensor) -> tuple[Tensor | None, ...]:
        features, directions, rgb, hidden1, hidden2, w1, w2, w3 = ctx.saved_tensors
        grads = [features.new_zeros(t.shape) for t in (w1, w1[:, 0], w2, w2[:, 0], w3, w3[:, 0])]
        grad_features = torch.empty_like(features)
        for tile in _tiles(features):
            with torch.enable_grad():
                tile_features = features[tile].detach().requires_grad_()
                inputs = reference.decoder_input(tile_features, directions[tile], *ctx.frequencies)
            outputs = grad_rgb[tile] * rgb[tile] * (1.0 - rgb[tile])
            activations = inputs.detach().bfloat16(), hidden1[tile], hidden2[tile]
            for layer in (2, 1, 0):
                rounded = outputs.bfloat16()
                grads[2 * layer] += (rounded.T @ activations[layer]).float()
                grads[2 * layer + 1] += outputs.sum(0)
                outputs = (rounded @ (w1, w2, w3)[layer]).float()
                if layer > 0:
                    outputs.mul_(activations[layer] > 0)
            grad_features[tile] = torch.autograd.grad(inputs, tile_features, outputs)[0]
        return grad_features, None, *grads, None, None
