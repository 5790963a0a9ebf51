"""How the gradient of a native op enters PyTorch: in eager mode, under `torch.func` and `vmap`.

Two autograd Functions serve every op. `Differentiable` is the forward pass; its backward pass calls `_Gradient`, which
runs the native backward operator and whose own backward pass, the second derivative, goes through the reference.
Derivatives in forward mode are the reference's where the op sees that one is wanted; the two Functions refuse the rest.
The usual call, outside of transforms of functions, has a forward pass that costs the host less: see `ops.eager`.
A call that `torch.compile` traces goes another way to the same formula: see `ops.compilation`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from nerf_ssim.errors import DerivativeError
from nerf_ssim.ops import autocast
from nerf_ssim.ops.calls import Call, GradientCall, places_of_variables, unflattened

if TYPE_CHECKING:
    from nerf_ssim.ops.declaration import Op


def has_tangent(tensors: Sequence[Any]) -> bool:
    """Whether one of these carries a forward-mode derivative; of a batch that is not known and counts as no."""
    try:
        return any(isinstance(each, Tensor) and forward_ad.unpack_dual(each).tangent is not None for each in tensors)
    except RuntimeError:  # PyTorch cannot look into the tensors of a vmap; each slice is asked again
        return False


def any_arguments(function: Callable[..., Any]) -> Callable[..., Any]:
    """Spare PyTorch the work of finding out at each call that `function` takes any arguments."""
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)]
    )
    return function


class Differentiable(torch.autograd.Function):
    """The native forward pass of any op: `apply(call, *flat arguments)`, all outputs as a tuple."""

    @staticmethod
    @any_arguments
    def forward(*inputs: Any) -> tuple[Tensor, ...]:
        """Run the operator."""
        call, *flat = inputs
        return call.op.outputs(call.needs, call.resource, unflattened(flat, call.widths))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep the arguments, and the outputs that the op's backward pass wants."""
        call, *flat = inputs
        save(ctx, call, flat, output)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Any, ...]:
        """Gradients of the flat arguments."""
        return None, *gradients_of_flat(ctx, ctx.needs_input_grad[1:], upstream)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """Refuse: only the reference has this derivative."""
        raise _no_forward_mode(ctx.call.op)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], call: Call, *flat: Any) -> tuple[Any, Any]:
        """Call the op on each slice.

        A gradient is wanted where the caller sees so, and where a slice does: a batch does not show it.
        """

        def run(slice_: list[Any]) -> tuple[Tensor, ...]:
            of_slice = call.op.needs(unflattened(slice_, call.widths))
            needs = tuple(outside or inside for outside, inside in zip(call.needs, of_slice, strict=True))
            return Differentiable.apply(replace(call, needs=needs, resource=None), *slice_)

        return _stacked(call.op, [run(each) for each in _slices(info.batch_size, in_dims[1:], flat)])


class _Gradient(torch.autograd.Function):
    """The native backward pass: `apply(call, wanted, counts, *upstream, *flat, *kept)`, a tuple of the gradients.

    wanted: which of the differentiable tensors want a gradient, of which there is one output each. counts: how many
    upstream gradients and flat arguments there are.
    """

    @staticmethod
    @any_arguments
    def forward(*inputs: Any) -> tuple[Tensor, ...]:
        """Run the operator."""
        call, wanted, counts, *rest = inputs
        upstream, flat, kept = _split(rest, counts)
        return _native_gradients(call, wanted, upstream, flat, kept)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep the upstream gradients and the arguments."""
        ctx.call, ctx.wanted, ctx.counts, *rest = inputs
        upstream, flat, _ = _split(rest, ctx.counts)
        _keep(ctx, [*upstream, *flat])
        ctx.inputs = len(inputs)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Any, ...]:
        """The second derivative, by the reference."""
        values = _kept(ctx)
        count = ctx.counts[0]
        of_upstream, of_flat = _second_order(ctx.call, ctx.wanted, values[:count], values[count:], upstream)
        results = [None, None, None, *of_upstream, *of_flat]
        return *results, *[None] * (ctx.inputs - len(results))

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """Refuse: only the reference has this derivative."""
        raise _no_forward_mode(ctx.call.op)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], call: Call, wanted: tuple[bool, ...], counts: tuple[int, int], *rest: Any
    ) -> tuple[Any, Any]:
        """Run the backward pass of each slice."""
        call = replace(call, resource=None)
        slices = _slices(info.batch_size, in_dims[3:], rest)
        return _stacked(call.op, [_Gradient.apply(call, wanted, counts, *each) for each in slices])


def save(ctx: Any, call: Call, flat: Sequence[Any], outputs: tuple[Tensor, ...]) -> None:
    """Keep in `ctx` what `gradients_of_flat` needs of a call."""
    op = call.op
    if len(op.differentiable_results) < len(outputs):
        constant = [each for place, each in enumerate(outputs) if place not in op.differentiable_results]
        ctx.mark_non_differentiable(*constant)
    ctx.set_materialize_grads(False)  # or zeros of the size of what was kept would be made for nobody
    ctx.call, ctx.count = call, len(flat)
    _keep(ctx, [*flat, *op.kept(outputs)])


def _keep(ctx: Any, values: Sequence[Any]) -> None:
    """Save tensors as PyTorch wants them saved, and other values beside them."""
    tensors = [value for value in values if isinstance(value, Tensor)]
    ctx.save_for_backward(*tensors)
    ctx.others = {place: value for place, value in enumerate(values) if not isinstance(value, Tensor)}


def _kept(ctx: Any) -> list[Any]:
    values = list(ctx.saved_tensors)
    for place, other in ctx.others.items():  # in ascending order
        values.insert(place, other)
    return values


def gradients_of_flat(ctx: Any, flat_needs: Sequence[bool], upstream: Sequence[Tensor | None]) -> list[Tensor | None]:
    """A gradient or None for each flat argument."""
    call, op = ctx.call, ctx.call.op
    values = _kept(ctx)
    flat, kept = values[: ctx.count], values[ctx.count :]
    of_results = [upstream[place] for place in op.differentiable_results]
    gradients: list[Tensor | None] = [None] * len(flat)
    places = places_of_variables(call)
    wanted = tuple(bool(flat_needs[place]) for place in places)
    if all(each is None for each in of_results) or not any(wanted):
        return gradients
    if torch.compiler.is_compiling():
        inputs = [flat[place] for place in places]
        found = tuple(tied(each, inputs) for each in _native_gradients(call, wanted, of_results, flat, kept))
    elif autocast.is_on(of_results):  # the caller is still inside of it when it differentiates
        with autocast.off(of_results):
            return gradients_of_flat(ctx, flat_needs, upstream)
    elif not torch.is_grad_enabled() and not has_tangent(of_results):
        found = _native_gradients(call, wanted, of_results, flat, kept)
    else:
        counts = len(of_results), len(flat)
        found = _Gradient.apply(call, wanted, counts, *of_results, *flat, *kept)
    served = iter(found)
    for place, is_wanted in zip(places, wanted, strict=True):
        if is_wanted:
            gradients[place] = next(served)
    return gradients


@torch.library.custom_op(
    "nerf_ssim_compiled::tied", mutates_args=(), schema="(Tensor gradient, Tensor[] inputs) -> Tensor"
)  # PyTorch 2.6 cannot read the schema off the annotations
def tied(gradient: Tensor, inputs: list[Tensor]) -> Tensor:
    """The gradient, as something that depends on the inputs.

    A compiled backward pass refuses a second derivative only where it uses a tensor that wants a gradient. Some of ours
    need no input, and would have the second derivative forgotten.
    """
    return gradient.clone()


@tied.register_fake
def _(gradient: Tensor, inputs: list[Tensor]) -> Tensor:
    return torch.empty_like(gradient)


def _no_forward_mode(op: Op) -> DerivativeError:
    return DerivativeError(
        f"{op.name}: has no derivative in forward mode of its gradient nor of a batch; use NERF_SSIM_BACKEND=reference"
    )


def _native_gradients(
    call: Call, wanted: tuple[bool, ...], upstream: Sequence[Tensor | None], flat: Sequence[Any], kept: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """The gradients that are wanted, by the native backward operator."""
    op, args = call.op, unflattened(flat, call.widths)
    assert op.gradient is not None
    if op.flags and any(want and not need for want, need in zip(wanted, call.needs, strict=True)):
        # A transform of functions asks for a gradient that did not show at the call: prepare it now.
        kept = op.kept(op.outputs(wanted, None, args))
    gradients = op.gradient(GradientCall(tuple(upstream), tuple(args), tuple(kept), wanted, call.resource))
    return tuple(each for each, want in zip(gradients, wanted, strict=True) if want and each is not None)


def _second_order(
    call: Call, wanted: tuple[bool, ...], of_results: Sequence[Tensor | None], flat: Sequence[Any], upstream: Any
) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """Derivatives of the wanted gradients in the upstream gradients and in the flat arguments, by the reference."""
    op, args = call.op, unflattened(flat, call.widths)
    if op.first_derivative_only:
        raise DerivativeError(f"{op.name}: has no second derivative; take the gradient without create_graph")
    variables = tuple(op.variables(args))
    present = [place for place, each in enumerate(of_results) if each is not None]

    def results(*variables: Tensor) -> tuple[Tensor, ...]:
        outputs = op.reference_results(op.with_variables(args, variables))
        differentiable = [outputs[place] for place in op.differentiable_results]
        return tuple(differentiable[place] for place in present)

    def gradients(upstream: tuple[Tensor, ...], variables: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        found = torch.func.vjp(results, *variables)[1](upstream)
        return tuple(each for each, want in zip(found, wanted, strict=True) if want)

    given = tuple(each for each in of_results if each is not None)
    of_given, of_variables = torch.func.vjp(gradients, given, variables)[1](tuple(upstream))
    of_upstream: list[Tensor | None] = [None] * len(of_results)
    for place, each in zip(present, of_given, strict=True):
        of_upstream[place] = each
    of_flat: list[Tensor | None] = [None] * len(flat)
    for place, each in zip(places_of_variables(call), of_variables, strict=True):
        of_flat[place] = each
    return of_upstream, of_flat


def _split(values: Sequence[Any], counts: tuple[int, int]) -> tuple[list[Any], list[Any], list[Any]]:
    first, second = counts
    return list(values[:first]), list(values[first : first + second]), list(values[first + second :])


def _slices(count: int, in_dims: Sequence[Any], values: Sequence[Any]) -> Iterator[list[Any]]:
    """The arguments of each slice of a batch."""
    is_batched = [isinstance(value, Tensor) and dim is not None for value, dim in zip(values, in_dims, strict=True)]
    for index in range(count):
        yield [
            value.select(dim, index) if batched else value
            for value, dim, batched in zip(values, in_dims, is_batched, strict=True)
        ]


def _stacked(op: Op, outputs: list[tuple[Tensor, ...]]) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """The outputs of all slices as a batch in dimension 0."""
    columns = list(zip(*outputs, strict=True))
    if any(each.shape != column[0].shape for column in columns for each in column):
        raise DerivativeError(f"{op.name}: vmap needs outputs of one shape, and each slice has another number of them")
    return tuple(torch.stack(column) for column in columns), (0,) * len(columns)
