"""The usual call of a native op: in eager mode, in reverse mode, outside of any transform of functions.

A step of training makes a dozen such calls, and on a GPU the host's time is a step's time while grids are coarse. What
`torch.func` and `vmap` need of `Differentiable` is left out here; the gradient is the same function.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nerf_ssim.ops.calls import Call, unflattened
from nerf_ssim.ops.differentiation import Differentiable, gradients_of_flat, save


def run(call: Call, flat: Sequence[Any]) -> tuple[Tensor, ...]:
    """All outputs of a native op, with its gradient where one is needed.

    Args:
        call: the op and what is not a tensor of its call.
        flat: its arguments, with the tensors of lists one by one.
    """
    begun: list[bool] = []
    try:
        return _Eager.apply(call, begun, *flat)
    except RuntimeError:
        if begun:
            raise
    # Inside a transform PyTorch refuses such a Function before it runs; nothing public tells of a transform beforehand.
    return Differentiable.apply(call, *flat)


class _Eager(torch.autograd.Function):
    """The native forward pass of any op: `apply(call, begun, *flat arguments)`, all outputs as a tuple."""

    @staticmethod
    def forward(ctx: Any, call: Call, begun: list[bool], *flat: Any) -> tuple[Tensor, ...]:
        """Run the operator; keep the arguments, and the outputs that the op's backward pass wants."""
        begun.append(True)
        outputs = call.op.outputs(call.needs, call.resource, unflattened(flat, call.widths))
        if any(call.needs):
            save(ctx, call, flat, outputs)
        return outputs

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Any, ...]:
        """Gradients of the flat arguments."""
        return None, None, *gradients_of_flat(ctx, ctx.needs_input_grad[2:], upstream)
