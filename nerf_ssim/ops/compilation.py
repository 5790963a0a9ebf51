"""What `torch.compile` knows of native operators: their output shapes, and the gradient of the first of each op.

PyTorch cannot trace Functions that take an op as an argument, so a compiled call goes to the registered operator, with
the same formula.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nerf_ssim.ops.calls import Call, flattened, unflattened
from nerf_ssim.ops.differentiation import gradients_of_flat, save

if TYPE_CHECKING:
    from nerf_ssim.ops.declaration import Op

_registered: set[str] = set()  # operators whose shapes PyTorch knows: two ops may share one


def register_for_compilation(op: Op) -> None:
    """Tell PyTorch the output shapes of the op's operators and, for compiled calls, the gradient of the first."""
    for name, shapes in zip(op.operator_names, op.operators.values(), strict=True):
        if shapes is not None and name not in _registered:
            torch.library.register_fake(f"nerf_ssim::{name}", shapes)
            _registered.add(name)
    if not op.compiles or op.in_place or not op.differentiable:
        return

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        args = inputs[: len(op.arguments)]
        flat, ctx.list_widths = flattened(args)
        outputs = (output,) if isinstance(output, Tensor) else tuple(flattened(output)[0])
        save(ctx, Call(op, op.needs(args), None, ctx.list_widths), flat, outputs)

    def differentiate(ctx: Any, *upstream: Any) -> tuple[Any, ...]:
        flat_upstream = [each for value in upstream for each in (value if isinstance(value, list) else (value,))]
        needs = [need for value in ctx.needs_input_grad for need in (value if isinstance(value, list) else (value,))]
        gradients = unflattened(gradients_of_flat(ctx, needs, flat_upstream), ctx.list_widths)
        return *gradients, *[None] * op.flags

    torch.library.register_autograd(f"nerf_ssim::{op.operator_names[0]}", differentiate, setup_context=keep)
