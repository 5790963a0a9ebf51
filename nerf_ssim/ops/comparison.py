"""Whether an op's kernel means what its reference means, forward and backward, on the examples of its declaration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from nerf_ssim.ops.declaration import Op

SMALL = 1e-3
"""Results whose largest entry is below this are compared as if it were this: their digits are not worth more."""


def disagreement(op: Op, device: torch.device | str) -> str:
    """What differs between the kernel of `op` on `device` and the reference on the CPU; "" for nothing.

    The reference runs in float64. Results that count as constants, such as the samples that a marcher keeps, are made
    by it in float32, operation by operation as the kernel makes them, and must be the same.
    """
    for number, args in enumerate(op.examples(), start=1):
        of_kernel = results_and_gradients(op, op.natively, converted(args, lambda each: each.to(device)))
        of_reference = results_and_gradients(op, op.reference, args if op.is_constant else in_float64(args))
        for name, (actual, exact) in paired(of_kernel, of_reference).items():
            if reason := _difference(actual.cpu(), exact, 0.0 if op.is_constant else op.tolerance):
                return f"example {number}: {name} {reason}"
    return ""


def results_and_gradients(op: Op, function: Callable[..., Any], args: Sequence[Any]) -> dict[str, Tensor]:
    """The results by name, and the gradient of their sum, weighted differently by entry, in what `op` differentiates.

    Args:
        function: that takes the op's arguments; one that works in place leaves its results in them.
    """
    args = converted(args, lambda each: each.detach().clone())
    variables = op.variables(args)
    for variable in variables:
        variable.requires_grad_()
    returned = function(*args)
    if op.in_place:
        pairs = zip(op.arguments, args, strict=False)
        lists = ((name, each if isinstance(each, list) else [each]) for name, each in pairs)
        return {
            f"{name} {place}": each
            for name, values in lists
            for place, each in enumerate(values)
            if isinstance(each, Tensor)
        }
    results = (returned,) if isinstance(returned, Tensor) else tuple(returned)
    found = {f"result {place}": each.detach() for place, each in enumerate(results)}
    differentiable = [results[place] for place in op.differentiable_results]
    if differentiable:
        upstream = [weights(each) for each in differentiable]
        gradients = torch.autograd.grad(differentiable, variables, upstream)
        found |= {f"gradient {place}": each for place, each in enumerate(gradients)}
    return found


def weights(like: Tensor) -> Tensor:
    """An upstream gradient that differs by entry."""
    values = torch.linspace(-1, 1.5, like.numel(), dtype=torch.float64).cos().reshape(like.shape)
    return values.to(like.device, like.dtype)


def in_float64(args: Sequence[Any]) -> list[Any]:
    """The arguments with every floating tensor in float64."""
    return converted(args, lambda each: each.double() if each.is_floating_point() else each)


def converted(args: Sequence[Any], change: Callable[[Tensor], Tensor]) -> list[Any]:
    """The arguments with `change` applied to every tensor, also to those of lists."""
    changed: list[Any] = []
    for value in args:
        if isinstance(value, Tensor):
            changed.append(change(value))
        elif isinstance(value, list) and value and isinstance(value[0], Tensor):
            changed.append([change(each) for each in value])
        else:
            changed.append(value)
    return changed


def paired(of_kernel: dict[str, Tensor], of_reference: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """The tensors of the same name."""
    return {name: (of_kernel[name], exact) for name, exact in of_reference.items()}


def _difference(actual: Tensor, exact: Tensor, tolerance: float) -> str:
    """How two tensors differ by more than a share `tolerance` of the largest entry; "" where they do not."""
    if actual.shape != exact.shape:
        return f"has shape {list(actual.shape)}, not {list(exact.shape)}"
    if not actual.numel():
        return ""
    error = float((actual.double() - exact.double()).abs().max())
    allowed = tolerance * max(SMALL, float(exact.double().abs().max()))
    return "" if error <= allowed else f"is off by {error:.2g}, of {allowed:.2g} allowed"
