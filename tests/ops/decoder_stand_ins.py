"""The GPU's operators of the colour decoder in plain PyTorch, registered for CPU tensors, and the way that leads there.

With them the whole path of a GPU runs on a CPU: the same Python code, PyTorch's CPU products in the place of cuBLAS's.
Where the simulator's bindings have put the CUDA kernels there, those stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from nerf_ssim.ops import decoder, decoder_products
from nerf_ssim.ops.reference.decoder import decoder_input

SAMPLES_OF_A_BLOCK = 512


def inputs(features: Tensor, directions: Tensor, octaves: int, view_octaves: int, width: int, rounds: bool) -> Tensor:
    """`decoder_inputs`."""
    rows = decoder_input(features, directions, octaves, view_octaves)
    rows = torch.nn.functional.pad(rows, (0, width - rows.shape[1]))
    return rows.bfloat16() if rounds else rows


def inputs_backward(grad: Tensor, features: Tensor, octaves: int, view_octaves: int) -> Tensor:
    """`decoder_inputs_backward`."""
    count, factors = features.shape[1], 2.0 ** torch.arange(octaves)
    angles = (features.unsqueeze(-1) * factors).flatten(1)
    first, width = count + 3, angles.shape[1]
    of_sines, of_cosines = grad[:, first : first + width].float(), grad[:, first + width : first + 2 * width].float()
    along = of_sines * angles.cos() - of_cosines * angles.sin()
    return grad[:, :count].float() + (along.unflatten(1, (count, octaves)) * factors).sum(-1)


def last_layer_backward(grad_rgb: Tensor, rgb: Tensor, hidden: Tensor, w3: Tensor) -> tuple[Tensor, Tensor]:
    """`decoder_last_layer_backward`."""
    outputs = grad_rgb * rgb * (1.0 - rgb)
    operands = outputs.to(hidden.dtype).float()
    grad = (operands @ w3) * (hidden > 0)
    of_w3 = torch.einsum("sc,sh->sch", operands, hidden.float()).flatten(1)
    return grad.to(hidden.dtype), _by_block(torch.cat([of_w3, grad, outputs], dim=1))


def relu_backward(grad: Tensor, hidden: Tensor) -> Tensor:
    """`decoder_relu_backward`."""
    grad.mul_(hidden > 0)
    return _by_block(grad.float())


def _by_block(values: Tensor) -> Tensor:
    blocks = [block.sum(0) for block in values.split(SAMPLES_OF_A_BLOCK)]
    return torch.stack(blocks) if len(values) else values


@contextmanager
def path_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`decode_color` goes the way of CUDA tensors, and products into float32 are one operator as they are there."""
    stand_ins = {
        "decoder_inputs": inputs,
        "decoder_inputs_backward": inputs_backward,
        "decoder_last_layer_backward": last_layer_backward,
        "decoder_relu_backward": relu_backward,
    }
    with (
        torch.library._scoped_library("nerf_ssim", "IMPL") as ours,
        torch.library._scoped_library("aten", "IMPL") as pytorch,
        monkeypatch.context() as patch,
    ):
        for name, function in stand_ins.items():
            if not getattr(torch.ops.nerf_ssim, name).default.has_kernel_for_dispatch_key("CPU"):
                ours.impl(name, function, "CPU")
        if not torch.ops.aten.mm.dtype.has_kernel_for_dispatch_key("CPU"):
            pytorch.impl("mm.dtype", lambda left, right, dtype: left.to(dtype) @ right.to(dtype), "CPU")
        patch.setattr(decoder_products, "has_wide_products", lambda like: True)
        patch.setattr(decoder, "multiplies_by_library", lambda features: True)
        yield
