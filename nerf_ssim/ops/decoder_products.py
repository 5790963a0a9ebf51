"""The colour decoder on GPUs: its products through cuBLAS, and kernels of ours for what lies between them.

One kernel writes the first layer's input rows, encoded, padded and in the products' number format; cuBLASLt adds bias
and ReLU to a hidden layer while it writes it; one kernel takes the gradient through the colours, the last layer and the
ReLU before it, and another through the other ReLU. Both add up the gradients of their biases on the way, a block of
samples each, in a fixed order.

| precision | operands and hidden layers | sums |
|---|---|---|
| `float32` | float32, as PyTorch's own setting says | float32 |
| `tf32` | float32; tensor cores take 10 of the 23 bits of each fraction | float32 |
| `bf16` | bfloat16, rounded once when they are written | float32, and so are the gradients of all weights |

With `bf16` the biases of the hidden layers are rounded to bfloat16 too, because cuBLASLt takes them so. The three
logits have float32 biases. `ops.reference.decoder` is the specification, `linear_bfloat16` up to these roundings.

Source: the layers of `ops.decoder.decode_color`; rounded outputs with sums in float32 are those of NVIDIA's guide to
training in mixed precision.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

PADDING = 8
"""Rows of inputs are a multiple of so many numbers, since the fast products read 16 bytes at a time."""


class Kept(NamedTuple):
    """What a forward pass leaves: colours, input rows, both hidden layers, first weights padded like the rows."""

    rgb: Tensor
    inputs: Tensor
    hidden1: Tensor
    hidden2: Tensor
    padded1: Tensor


def forward(
    features: Tensor, directions: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor,
    feature_frequencies: int, view_frequencies: int, precision: str,
) -> Kept:  # fmt: skip
    """Colours `[n, 3]` and what `backward` wants.

    Args:
        features, …, view_frequencies: as for `ops.decoder.decode_color`, float32.
        precision: `"float32"`, `"tf32"` or `"bf16"`.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    with _multiplying(features, precision):
        padded1 = _padded(w1, dtype)
        inputs = torch.ops.nerf_ssim.decoder_inputs(
            features, directions, feature_frequencies, view_frequencies, padded1.shape[1], dtype == torch.bfloat16
        )
        hidden1 = _hidden(inputs, padded1, b1)
        hidden2 = _hidden(hidden1, w2, b2)
        rgb = _summed_in_float32(hidden2, w3.to(dtype).T).add_(b3).sigmoid_()
    return Kept(rgb, inputs, hidden1, hidden2, padded1)


def backward(
    grad_rgb: Tensor, kept: Kept, features: Tensor, w1: Tensor, w2: Tensor, w3: Tensor, feature_frequencies: int,
    view_frequencies: int, precision: str, wants_features: bool,
) -> list[Tensor | None]:  # fmt: skip
    """Gradients of features (None unless wanted), w1, b1, w2, b2, w3 and b3, all float32.

    Args:
        grad_rgb: of the colours, `[n, 3]`.
        kept: all that `forward` returned.
    """
    rgb, inputs, hidden1, hidden2, padded1 = kept
    native, dtype, width = torch.ops.nerf_ssim, hidden2.dtype, hidden2.shape[1]
    with _multiplying(features, precision):
        grad2, sums = native.decoder_last_layer_backward(grad_rgb, rgb, hidden2, w3.to(dtype).float())
        of_w3, of_b2, of_b3 = sums.sum(0).split([3 * width, width, 3])
        of_w2 = _summed_in_float32(grad2.T, hidden1)
        grad1 = grad2 @ w2.to(dtype)
        of_b1 = native.decoder_relu_backward(grad1, hidden1).sum(0)
        of_w1 = _summed_in_float32(grad1.T, inputs)[:, : w1.shape[1]]
        of_features = None
        if wants_features:
            grad_inputs = grad1 @ padded1
            of_features = native.decoder_inputs_backward(grad_inputs, features, feature_frequencies, view_frequencies)
    return [of_features, of_w1, of_b1, of_w2, of_b2, of_w3.view(3, width), of_b3]


def _padded(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """The first layer's weights with columns of zeros behind them, in the products' format."""
    outputs, inputs = weight.shape
    padded = weight.new_zeros(outputs, -(-inputs // PADDING) * PADDING, dtype=dtype)
    padded[:, :inputs] = weight
    return padded


def _hidden(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """relu(inputs @ weight.T + bias) in the format of the inputs."""
    return torch._addmm_activation(bias.to(inputs.dtype), inputs, weight.to(inputs.dtype).T)


def _summed_in_float32(left: Tensor, right: Tensor) -> Tensor:
    """`left @ right` with all sums, and the result, in float32 whatever the operands are."""
    if left.dtype == torch.float32:
        return left @ right
    if has_wide_products(left):
        return torch.mm(left, right, out_dtype=torch.float32)
    return left.float() @ right.float()


def has_wide_products(like: Tensor) -> bool:
    """Whether PyTorch multiplies bfloat16 matrices of this device into a float32 one (from 2.8 on, on CUDA)."""
    return like.is_cuda and hasattr(torch.ops.aten.mm, "dtype")


@contextlib.contextmanager
def _multiplying(like: Tensor, precision: str) -> Iterator[None]:
    """Products of float32 matrices in that precision, and none in autocast's, until the block ends."""
    with torch.no_grad(), torch.autocast(like.device.type, enabled=False):
        if precision != "tf32":
            yield
            return
        matmul = torch.backends.cuda.matmul
        # PyTorch 2.9 named the setting anew, and does not let one program use both names.
        name, value = ("fp32_precision", "tf32") if hasattr(matmul, "fp32_precision") else ("allow_tf32", True)
        before = getattr(matmul, name)
        setattr(matmul, name, value)
        try:
            yield
        finally:
            setattr(matmul, name, before)
