"""The sine network of SIREN on many points: forward, and forward with squared error and gradient in one pass.

The native kernels run tiles of points whose activations stay in a core's cache. A loss that is a sum over the points
needs no second pass: `siren_fit` computes output, error and gradient of a tile while its activations are there.
A loss that couples points (SSIM) needs all outputs first: `siren` keeps the activations of every tile where it is given
memory for them and they take at most `KEPT_BYTES`; else its backward computes those of each tile again. Either way the
result has the same bits.

A `precision` other than float32 splits the numbers that the hidden layers multiply into bfloat16 terms, for CPUs whose
matrix unit multiplies those so much faster that several products cost less than one of float32. Three terms hold all 24
bits of a float32, two hold 16. Of two operands of N terms, N (N + 1) / 2 pairs of terms are multiplied.

| precision | forward | gradient of activations | gradient of weights | bfloat16 products for 3 of float32 |
|---|---|---|---|---|
| `bf16x3` | 3 terms | 2 terms | 2 terms | 6 + 3 + 3 |
| `bf16x2` | 2 terms | 2 terms | 2 terms | 3 + 3 + 3 |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from nerf_ssim.ops import backend, bf16_units
from nerf_ssim.ops.calls import GradientCall
from nerf_ssim.ops.declaration import Op, declare
from nerf_ssim.ops.example_values import uniform
from nerf_ssim.ops.reference import siren as reference

PRECISIONS = ("float32", "bf16x3", "bf16x2")
KEPT_BYTES = 256 << 20  # activations of 128x128 points with four layers of 256 are 137 MiB


class ActivationMemory:
    """Keeps the memory of one pass's activations for the next: fresh pages for them cost as much as they save.

    Example:
        >>> memory = ActivationMemory()
        >>> siren(inputs, layers, omega=30.0, memory=memory).square().sum().backward()
    """

    def __init__(self) -> None:
        self._kept: Tensor | None = None

    def take(self, floats: int) -> Tensor:
        """So many float32 of any content: the kept tensor where it fits, else a new one."""
        kept, self._kept = self._kept, None
        return kept if kept is not None and kept.numel() == floats else torch.empty(floats)

    def give(self, used: Tensor) -> None:
        """Keep `used` until it is taken."""
        self._kept = used


def siren(
    inputs: Tensor,
    layers: Sequence[Tensor],
    *,
    omega: float,
    memory: ActivationMemory | None = None,
    precision: str = "float32",
) -> Tensor:
    """The network `W_last h + b_last` with `h = sin(omega (W h + b))` for each layer before.

    Args:
        inputs: `[n, d]`.
        layers: weight `[out, in]` and bias `[out]` of each layer in turn, at least two layers.
        omega: the frequency factor, > 0.
        memory: where the native forward pass keeps activations for its backward; None to compute them again.
        precision: of the hidden layers' products, one of `PRECISIONS`, where `effective_precision` says that it runs;
            else float32.
    Returns:
        `[n, outputs]`, differentiable in the layers, and in plain PyTorch also in the inputs.
    Raises:
        ValueError: layers that do not fit together, or an unknown precision.
    Source: Sitzmann et al. 2020, equation 5.
    """
    _check(inputs, layers, omega)
    precision = effective_precision(precision, inputs.device)[0]
    return SIREN(inputs, list(layers), omega, precision, resource=memory and _KeptActivations(memory))


def siren_fit(
    inputs: Tensor, target: Tensor, layers: Sequence[Tensor], *, omega: float, precision: str = "float32"
) -> tuple[Tensor, Tensor]:
    """The network's outputs and their mean squared error to a target, whose gradient comes in the same pass.

    Args:
        inputs, layers, omega, precision: as for `siren`.
        target: `[n, outputs]`; errors are taken in its precision (float64 for a fit beyond 100 dB).
    Returns:
        outputs `[n, outputs]`, detached; mean squared error, 0-dim in the target's dtype, differentiable as
        `siren` is.
    Raises:
        ValueError: layers that do not fit together, or a target of another shape.
    """
    _check(inputs, layers, omega)
    if target.shape != (len(inputs), len(layers[-1])):
        raise ValueError(f"siren: target must be {[len(inputs), len(layers[-1])]}, not {list(target.shape)}")
    if is_differentiated(layers) and len(inputs) and backend.implementation("siren_fit", inputs, *layers) == "native":
        ran = effective_precision(precision, inputs.device)[0]
        outputs, error = SIREN_FIT(inputs, target.double(), list(layers), omega, ran)
        return outputs, error.to(target.dtype)
    outputs = siren(inputs, layers, omega=omega, precision=precision)
    return outputs.detach(), reference.squared_error(outputs, target)


def effective_precision(precision: str, device: torch.device | str = "cpu") -> tuple[str, str]:
    """What the products run in on a device of this machine, and why.

    Returns:
        `(one of PRECISIONS, reason)`. Bfloat16 terms are honoured where the native kernel finds a unit of the CPU that
        multiplies them; elsewhere float32 runs, which is as exact and then faster.
    Raises:
        ValueError: an unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"siren: precision {precision!r} is unknown; use one of {', '.join(PRECISIONS)}")
    if precision == "float32":
        return "float32", "as asked"
    if torch.device(device).type != "cpu" or backend.implementation("siren") != "native":
        return "float32", f"{precision} asked for, which only the native CPU kernel has"
    unit = bf16_units.native_unit()
    if not unit:
        return "float32", f"{precision} asked for, but the CPU has no bfloat16 products (AMX or AVX512_BF16)"
    return precision, f"the CPU multiplies bfloat16 in hardware ({unit})"


def is_differentiated(layers: Sequence[Tensor]) -> bool:
    """Whether a gradient in any of the layers will be asked for."""
    return torch.is_grad_enabled() and any(layer.requires_grad for layer in layers)


def _check(inputs: Tensor, layers: Sequence[Tensor], omega: float) -> None:
    if len(layers) < 4 or len(layers) % 2:
        raise ValueError(f"siren: weight and bias of at least two layers expected, got {len(layers)} tensors")
    if inputs.dim() != 2:
        raise ValueError(f"siren: inputs must be [n, d], not {list(inputs.shape)}")
    if not omega > 0:
        raise ValueError(f"siren: omega must be above 0, not {omega}")
    width = inputs.shape[1]
    for number, (weight, bias) in enumerate(zip(layers[::2], layers[1::2], strict=True), start=1):
        if weight.dim() != 2 or weight.shape[1] != width or bias.shape != weight.shape[:1]:
            raise ValueError(
                f"siren: layer {number} must be [outputs, {width}] with a bias of [outputs], not "
                f"{list(weight.shape)} and {list(bias.shape)}"
            )
        width = weight.shape[0]


class _KeptActivations:
    """Activations of one forward pass, for one backward pass; a second one computes them again."""

    def __init__(self, memory: ActivationMemory) -> None:
        self.memory = memory
        self.tensor: Tensor | None = None


def _forward(
    needs: tuple[bool, ...], kept: _KeptActivations | None, inputs: Tensor, layers: list[Tensor], omega: float,
    precision: str,
) -> Tensor:  # fmt: skip
    native = torch.ops.nerf_ssim
    if kept is not None and any(needs):
        floats = native.siren_activation_floats(inputs, layers, precision)
        if floats * inputs.element_size() <= KEPT_BYTES:
            kept.tensor = kept.memory.take(floats)
            return native.siren_keeping(inputs, layers, omega, kept.tensor, precision)
    return native.siren(inputs, layers, omega, precision)


def _gradient(call: GradientCall) -> Sequence[Tensor]:
    inputs, layers, omega, precision = call.args
    kept, (upstream,) = call.resource, call.upstream
    if kept is None or kept.tensor is None:
        return torch.ops.nerf_ssim.siren_backward(upstream, inputs, layers, omega, precision)
    activations, kept.tensor = kept.tensor, None
    gradients = torch.ops.nerf_ssim.siren_kept_backward(upstream, inputs, layers, omega, activations, precision)
    kept.memory.give(activations)
    return gradients


def _fit_gradient(call: GradientCall) -> Sequence[Tensor]:
    """The gradients that came with the error, scaled by the error's."""
    (upstream,) = call.upstream
    assert upstream is not None
    if torch.compiler.is_compiling():
        return [upstream.to(gradient.dtype) * gradient for gradient in call.kept]
    scale = float(upstream)
    return call.kept if scale == 1.0 else [scale * gradient for gradient in call.kept]


def _fit_by_reference(
    inputs: Tensor, target: Tensor, layers: list[Tensor], omega: float, precision: str
) -> tuple[Tensor, Tensor]:
    outputs = reference.siren(inputs, layers, omega)
    return outputs.detach(), reference.squared_error(outputs, target)


def _output_shape(inputs: Tensor, layers: list[Tensor], *_: Any) -> Tensor:
    return inputs.new_empty(inputs.shape[0], layers[-1].shape[0])


def _gradient_shapes(grad_outputs: Tensor | None, inputs: Tensor, layers: list[Tensor], *_: Any) -> list[Tensor]:
    return [torch.empty_like(layer, memory_format=torch.contiguous_format) for layer in layers]


def _fit_shapes(
    inputs: Tensor, target: Tensor, layers: list[Tensor], omega: float, precision: str
) -> tuple[Tensor, Tensor, list[Tensor]]:
    return _output_shape(inputs, layers), target.new_empty(()), _gradient_shapes(None, inputs, layers)


def _examples() -> Iterator[tuple[Any, ...]]:
    for points, widths in ((41, (2, 16, 16, 1)), (1, (3, 17, 5, 2)), (97, (2, 33, 3))):
        layers = []
        for number, (n_in, n_out) in enumerate(zip(widths, widths[1:], strict=False)):
            bound = 1 / n_in if number == 0 else (6 / n_in) ** 0.5 / 30
            layers += [uniform(*size, low=-bound, high=bound, seed=number) for size in ((n_out, n_in), (n_out,))]
        yield uniform(points, widths[0], low=-1, seed=9), layers, 30.0, "float32"


def _fit_examples() -> Iterator[tuple[Any, ...]]:
    for inputs, layers, omega, precision in _examples():
        yield inputs, uniform(len(inputs), len(layers[-1]), seed=8).double(), layers, omega, precision


SIREN = declare(
    Op(
        name="siren",
        operators={
            "siren(Tensor inputs, Tensor[] layers, float omega, str precision) -> Tensor": _output_shape,
            "siren_activation_floats(Tensor inputs, Tensor[] layers, str precision) -> int": None,
            "siren_keeping(Tensor inputs, Tensor[] layers, float omega, Tensor(a!) activations, str precision)"
            " -> Tensor": _output_shape,
            "siren_backward(Tensor grad_outputs, Tensor inputs, Tensor[] layers, float omega, str precision)"
            " -> Tensor[]": _gradient_shapes,
            "siren_kept_backward(Tensor grad_outputs, Tensor inputs, Tensor[] layers, float omega, Tensor(a!)"
            " activations, str precision) -> Tensor[]": _gradient_shapes,
        },
        reference=lambda inputs, layers, omega, precision: reference.siren(inputs, layers, omega),
        differentiable=("layers",),
        forward=_forward,
        gradient=_gradient,
        examples=_examples,
    )
)
SIREN_FIT = declare(
    Op(
        name="siren_fit",
        operators={
            "siren_fit(Tensor inputs, Tensor target, Tensor[] layers, float omega, str precision)"
            " -> (Tensor, Tensor, Tensor[])": _fit_shapes,
        },
        reference=_fit_by_reference,
        differentiable=("layers",),
        of_any_dtype=("target",),
        gradient=_fit_gradient,
        results=2,
        constant_results=(0,),
        examples=_fit_examples,
    )
)
