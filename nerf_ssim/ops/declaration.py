"""How an op is declared: once, with its operators, its reference, what it can differentiate and small examples.

From a declaration follow the choice of implementation, the gradient in eager mode and under `torch.compile`,
`torch.func` and `vmap`, what `backend.describe` and the manifests say, the comparison of kernel and reference that
`ops.verification` makes on the user's machine, and the parity tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from nerf_ssim.errors import DerivativeError
from nerf_ssim.ops import autocast, backend, eager
from nerf_ssim.ops.calls import Call, Gradient, Widths, flattened
from nerf_ssim.ops.compilation import register_for_compilation
from nerf_ssim.ops.differentiation import has_tangent


@dataclass(frozen=True, eq=False, kw_only=True)
class Op:
    """An op: what it computes, natively and in plain PyTorch, and how its gradient is made.

    Example:
        >>> PLANE_TV = declare(Op(
        ...     name="plane_tv",
        ...     operators={"plane_tv(Tensor plane) -> Tensor": lambda plane: plane.new_empty(()), ...},
        ...     reference=reference.plane_tv, differentiable=("plane",), gradient=..., examples=...))
        >>> PLANE_TV(torch.rand(4, 5, 3))

    Args:
        name: of the op.
        operators: the schema of each of its native operators, as `m.def` in cuda_ext/bindings has it, with the function
            that PyTorch asks for output shapes, or None where it returns no tensor. The first one is the forward pass;
            its arguments are the op's, but for the last `flags`.
        reference: the specification: the op's arguments to its results, for any dtype and device. Of an op that works
            in place, it does that.
        examples: calls to compare the two with, as tuples of arguments on the CPU in float32; small, odd shapes too.
        differentiable: names of the arguments in which the native op has a gradient. Where another one is asked for,
            the reference serves.
        gradient: the native backward pass: gradients of the differentiable tensors in their order (the tensors of a
            list one by one), or None for those that are not needed.
        kernels: by kind of device, the operators whose kernels serve the op there, where those are not all of them.
        forward: the native forward pass `(needs, resource, *args)`; by default the first operator is called, with the
            first `flags` of `needs` as its last arguments.
        results: how many of the outputs are the op's results; the others are for the backward pass.
        constant_results: those of the results that carry no gradient.
        keeps: results that the backward pass wants too.
        flags: how many of the forward operator's last arguments say which gradients will be wanted.
        dtypes: floating dtypes that the kernels take.
        of_any_dtype: names of arguments of which that is not asked.
        devices: kinds of device that kernels are made for; elsewhere the reference is what is meant to serve.
        is_constant: whether the results count as constants, so that asking for a derivative of them is an error.
        first_derivative_only: whether the reference too has only the first derivative, in reverse mode.
        in_place: whether it changes its arguments instead of returning something.
        compiles: whether the first operator alone is the op, so that `torch.compile` may call it.
        tolerance: the error that is allowed, as a share of a result's largest entry.
    """

    name: str
    operators: Mapping[str, Callable[..., Any] | None]
    reference: Callable[..., Any]
    examples: Callable[[], Iterator[tuple[Any, ...]]]
    differentiable: tuple[str, ...] = ()
    gradient: Gradient | None = None
    kernels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    forward: Callable[..., Any] | None = None
    results: int = 1
    constant_results: tuple[int, ...] = ()
    keeps: tuple[int, ...] = ()
    flags: int = 0
    dtypes: tuple[torch.dtype, ...] = (torch.float32,)
    of_any_dtype: tuple[str, ...] = ()
    devices: tuple[str, ...] = ("cpu", "cuda")
    is_constant: bool = False
    first_derivative_only: bool = False
    in_place: bool = False
    compiles: bool = True
    tolerance: float = 1e-4

    operator_names: tuple[str, ...] = field(init=False)
    """Names of the native operators."""
    arguments: tuple[str, ...] = field(init=False)
    """Names of the op's arguments, as the forward operator's schema has them."""
    is_differentiable: tuple[bool, ...] = field(init=False)
    """Of each argument, whether the native op has a gradient in it."""
    differentiable_results: tuple[int, ...] = field(init=False)
    """Places of the results that carry a gradient."""

    def __post_init__(self) -> None:
        forward = next(iter(self.operators))
        words = forward[forward.index("(") + 1 : forward.rindex(") ->")].split(", ")
        arguments = tuple(word.split()[-1] for word in words[: len(words) - self.flags])
        results = range(self.results) if self.differentiable else ()
        for name, value in {
            "operator_names": tuple(schema.partition("(")[0] for schema in self.operators),
            "arguments": arguments,
            "is_differentiable": tuple(name in self.differentiable for name in arguments),
            "differentiable_results": tuple(place for place in results if place not in self.constant_results),
        }.items():
            object.__setattr__(self, name, value)  # of a frozen dataclass

    def __call__(self, *args: Any, resource: Any = None) -> Any:
        """The results: a tensor, or a tuple where there are several.

        Args:
            args: the op's arguments by position, `arguments` names them.
            resource: what the op's own `forward` and `gradient` work with beside tensors, such as memory to use again.
        """
        flat, widths = flattened(args)
        tensors = [value for value in flat if isinstance(value, Tensor)]
        is_eager = not torch.compiler.is_compiling()
        if is_eager and autocast.is_on(tensors):
            with autocast.off(tensors):
                return self(*autocast.in_float32(args), resource=resource)
        if is_eager and has_tangent(tensors):
            if self.first_derivative_only:
                raise DerivativeError(f"{self.name}: has no derivative in forward mode; take it in reverse mode")
            return self._by_reference(args, "derivative in forward mode")
        if torch.is_grad_enabled() and self._wants_other_gradient(args):
            return self._by_reference(args, "gradient")
        if backend.implementation(self.name, *self._asked_about(args, tensors)) == "reference":
            refuse_mixed_devices(self, args)
            return self.reference(*args)
        return self._natively(args, flat, widths, resource)

    def natively(self, *args: Any, resource: Any = None) -> Any:
        """The same by the native operators, whatever `ops.backend` says."""
        return self._natively(args, *flattened(args), resource)

    def _natively(self, args: Sequence[Any], flat: Sequence[Any], widths: Widths, resource: Any) -> Any:
        if self.in_place or (self.compiles and torch.compiler.is_compiling()):
            outputs = self.outputs(self.needs(args), None, args)
        else:
            outputs = eager.run(Call(self, self.needs(args), resource, widths), flat)
        if self.in_place:
            return None
        return outputs[0] if self.results == 1 else outputs[: self.results]

    def needs(self, args: Sequence[Any]) -> tuple[bool, ...]:
        """Which of the differentiable tensors (those of a list one by one) want a gradient."""
        is_enabled = torch.is_grad_enabled()
        return tuple(is_enabled and value.requires_grad for value in self.variables(args))

    def variables(self, args: Sequence[Any]) -> list[Tensor]:
        """The differentiable tensors among the arguments, those of a list one by one."""
        found: list[Tensor] = []
        for value, is_differentiable in zip(args, self.is_differentiable, strict=True):
            if is_differentiable:
                found.extend(value if isinstance(value, (list, tuple)) else (value,))
        return found

    def with_variables(self, args: Sequence[Any], variables: Sequence[Tensor]) -> list[Any]:
        """The arguments with other tensors in the places of the differentiable ones."""
        rest, replaced = list(variables), []
        for value, is_differentiable in zip(args, self.is_differentiable, strict=True):
            if not is_differentiable:
                replaced.append(value)
            elif isinstance(value, (list, tuple)):
                replaced.append(rest[: len(value)])
                del rest[: len(value)]
            else:
                replaced.append(rest.pop(0))
        return replaced

    def outputs(self, needs: tuple[bool, ...], resource: Any, args: Sequence[Any]) -> tuple[Tensor, ...]:
        """All outputs of the native forward pass, those of a list one by one."""
        if self.forward is not None:
            outputs = self.forward(needs, resource, *args)
        else:
            operator = getattr(torch.ops.nerf_ssim, self.operator_names[0])
            outputs = operator(*args, *needs[: self.flags])
        return (outputs,) if isinstance(outputs, Tensor) else tuple(flattened(outputs or ())[0])

    def kept(self, outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Those of all outputs that the backward pass wants."""
        return (*(outputs[place] for place in self.keeps), *outputs[self.results :])

    def reference_results(self, args: Sequence[Any]) -> tuple[Tensor, ...]:
        """The reference's results, always as a tuple."""
        results = self.reference(*args)
        return (results,) if isinstance(results, Tensor) else tuple(results or ())

    def _wants_other_gradient(self, args: Sequence[Any]) -> bool:
        """Whether a gradient is wanted in a tensor in which the native op has none."""
        for value, is_differentiable in zip(args, self.is_differentiable, strict=True):
            if is_differentiable:
                continue
            for each in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(each, Tensor) and each.requires_grad:
                    return True
        return False

    def _asked_about(self, args: Sequence[Any], tensors: list[Tensor]) -> list[Tensor]:
        """The tensors whose dtype decides whether the kernel takes them."""
        if not self.of_any_dtype:
            return tensors
        pairs = zip(args, self.arguments, strict=True)
        return [
            value
            for value in flattened([a for a, name in pairs if name not in self.of_any_dtype])[0]
            if isinstance(value, Tensor)
        ]

    def _by_reference(self, args: Sequence[Any], wanted: str) -> Any:
        """The reference's results for a derivative that the native op does not have."""
        if self.in_place or self.is_constant:
            raise DerivativeError(f"{self.name}: has no {wanted}, its results are constants; detach what it is given")
        return self.reference(*args)


def refuse_mixed_devices(op: Op, args: Sequence[Any]) -> None:
    """Raises ValueError, which names the argument, where tensors are on different devices; scalars may be anywhere."""
    first: tuple[str, torch.device] | None = None
    for name, value in zip(op.arguments, args, strict=False):
        for each in value if isinstance(value, (list, tuple)) else (value,):
            if not isinstance(each, Tensor) or each.dim() == 0:
                continue
            first = first or (name, each.device)
            if each.device != first[1]:
                raise ValueError(
                    f"{op.name}: {name} is on {each.device}, {first[0]} on {first[1]}; move them to one device"
                )


def declare(op: Op) -> Op:
    """Enter an op into the table of all, and make its native operators known to `torch.compile`."""
    if backend.add(op):
        register_for_compilation(op)
    return op
