"""What the GPU's parity tests share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

TOLERANCE = 3e-5


def value_and_gradients(function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    """The output, then the gradients of its sum with weights that differ by entry."""
    inputs = [tensor.detach().requires_grad_() for tensor in inputs]
    output = function(*inputs)
    weights = torch.linspace(-1, 1.5, output.numel(), dtype=torch.float64).cos().reshape(output.shape).to(output)
    return [output.detach(), *torch.autograd.grad(output, inputs, weights)]


def assert_close(actual: Sequence[Tensor], exact: Sequence[Tensor]) -> None:
    """Each tensor within the tolerance of the largest entry of its float64 counterpart on the CPU."""
    for a, e in zip(actual, exact, strict=True):
        scale = max(float(e.abs().max()), 1e-3) if e.numel() else 1.0
        torch.testing.assert_close(a.cpu().double() / scale, e.double() / scale, rtol=0, atol=TOLERANCE)


def on_gpu(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Copies there."""
    return [tensor.cuda() for tensor in tensors]
