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
    if torch._C._are_functorch_transforms_active():  # what `torch.autograd.Function` asks at each call too
        return Differentiable.apply(call, *flat)
    if any(call.needs):
        return _Eager.apply(call, *flat)
    with torch.no_grad():
        return _outputs(call, flat)


class _Eager(torch.autograd.Function):
    """The native forward pass of any op: `apply(call, *flat arguments)`, all outputs as a tuple."""

    @staticmethod
    def forward(ctx: Any, call: Call, *flat: Any) -> tuple[Tensor, ...]:
        """Run the operator; keep the arguments, and the outputs that the op's backward pass wants."""
        outputs = _outputs(call, flat)
        save(ctx, call, flat, outputs)
        return outputs

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Any, ...]:
        """Gradients of the flat arguments."""
        return None, *gradients_of_flat(ctx, ctx.needs_input_grad[1:], upstream)


def _outputs(call: Call, flat: Sequence[Any]) -> tuple[Tensor, ...]:
    """The operators' outputs; nobody asks for derivatives inside."""
    op, args = call.op, unflattened(flat, call.widths)
    if op.forward is not None:
        return op.outputs(call.needs, call.resource, args)
    # One operator, which need not go through what `torch.compile` differentiates it by.
    with torch._C._AutoDispatchBelowAutograd():
        return op.outputs(call.needs, call.resource, args)
