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

from collections.abc import Sequence

import torch
from torch import Tensor

from nerf_ssim.ops import backend, bf16_units
from nerf_ssim.ops.reference import siren as reference

PRECISIONS = ("float32", "bf16x3", "bf16x2")
KEPT_BYTES = 256 << 20  # activations of 128x128 points with four layers of 256 are 137 MiB

_HAS_NATIVE = backend.declare("siren")
_HAS_NATIVE_FIT = backend.declare("siren_fit")


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
        inputs: `[n, d]`; treated as constants.
        layers: weight `[out, in]` and bias `[out]` of each layer in turn, at least two layers.
        omega: the frequency factor, > 0.
        memory: where the native forward pass keeps activations for its backward; None to compute them again.
        precision: of the hidden layers' products, one of `PRECISIONS`, where `effective_precision` says that it runs;
            else float32.
    Returns:
        `[n, outputs]`, differentiable in the layers.
    Raises:
        ValueError: layers that do not fit together, or an unknown precision.
    Source: Sitzmann et al. 2020, equation 5.
    """
    _check(inputs, layers, omega)
    precision = effective_precision(precision, inputs.device)[0]
    inputs = inputs.detach()
    if backend.implementation("siren", inputs, *layers) == "reference":
        return reference.siren(inputs, layers, omega)
    if memory is not None and is_differentiated(layers):
        floats = torch.ops.nerf_ssim.siren_activation_floats(inputs, list(layers), precision)
        if floats * inputs.element_size() <= KEPT_BYTES:
            return _KeptActivations.apply(inputs, omega, memory, floats, precision, *layers)
    return torch.ops.nerf_ssim.siren(inputs, list(layers), omega, precision)


def siren_fit(
    inputs: Tensor, target: Tensor, layers: Sequence[Tensor], *, omega: float, precision: str = "float32"
) -> tuple[Tensor, Tensor]:
    """The network's outputs and their mean squared error to a target, whose gradient comes in the same pass.

    Args:
        inputs, layers, omega, precision: as for `siren`.
        target: `[n, outputs]`; errors are taken in its precision (float64 for a fit beyond 100 dB).
    Returns:
        outputs `[n, outputs]`, detached; mean squared error, 0-dim in the target's dtype, differentiable in the layers.
    Raises:
        ValueError: layers that do not fit together, or a target of another shape.
    """
    _check(inputs, layers, omega)
    if target.shape != (len(inputs), len(layers[-1])):
        raise ValueError(f"siren: target must be {[len(inputs), len(layers[-1])]}, not {list(target.shape)}")
    inputs = inputs.detach()
    ran = effective_precision(precision, inputs.device)[0]
    if is_differentiated(layers) and len(inputs) and backend.implementation("siren_fit", inputs, *layers) == "native":
        detached = [layer.detach() for layer in layers]
        outputs, error, gradients = torch.ops.nerf_ssim.siren_fit(inputs, target.double(), detached, omega, ran)
        return outputs, _KnownGradients.apply(error.to(target.dtype), len(layers), *layers, *gradients)
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


class _KeptActivations(torch.autograd.Function):
    """The network, with the activations of its forward pass kept for one backward; a second one computes them again."""

    @staticmethod
    def forward(
        ctx, inputs: Tensor, omega: float, memory: ActivationMemory, floats: int, precision: str, *layers: Tensor
    ) -> Tensor:
        """Outputs `[n, outputs]`."""
        ctx.save_for_backward(inputs, *layers)
        ctx.omega, ctx.precision, ctx.memory, ctx.activations = omega, precision, memory, memory.take(floats)
        return torch.ops.nerf_ssim.siren_keeping(inputs, list(layers), omega, ctx.activations, precision)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """The layers' gradients; uses the activations up and gives their memory back."""
        inputs, *layers = ctx.saved_tensors
        activations, ctx.activations = ctx.activations, None
        if activations is None:
            gradients = torch.ops.nerf_ssim.siren_backward(grad_outputs, inputs, layers, ctx.omega, ctx.precision)
        else:
            gradients = torch.ops.nerf_ssim.siren_kept_backward(
                grad_outputs, inputs, layers, ctx.omega, activations, ctx.precision
            )
            ctx.memory.give(activations)
        return None, None, None, None, None, *gradients


class _KnownGradients(torch.autograd.Function):
    """A value that comes with its gradients in several tensors."""

    @staticmethod
    def forward(ctx, value: Tensor, count: int, *tensors: Tensor) -> Tensor:
        """Return `value []` as a function of the first `count` tensors; the others are its gradients in them."""
        ctx.save_for_backward(*tensors[count:])
        return value.view_as(value)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_value: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients, scaled by the value's."""
        scale = float(grad_value)
        gradients = ctx.saved_tensors
        scaled = gradients if scale == 1.0 else [scale * gradient for gradient in gradients]
        return None, None, *scaled, *(None for _ in gradients)


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


def _register() -> None:
    """Tell PyTorch the shapes of the native operators, and that one is the gradient of another."""

    def forward_shape(inputs, layers, omega, precision):
        return inputs.new_empty(inputs.shape[0], layers[-1].shape[0])

    def backward_shapes(grad_outputs, inputs, layers, omega, *_):
        return [torch.empty_like(layer, memory_format=torch.contiguous_format) for layer in layers]

    def fit_shapes(inputs, target, layers, omega, precision):
        return (
            forward_shape(inputs, layers, omega, precision),
            target.new_empty(()),
            backward_shapes(None, inputs, layers, omega),
        )

    def setup_context(ctx, inputs, output) -> None:
        points, layers, ctx.omega, ctx.precision = inputs
        ctx.save_for_backward(points, *layers)

    def backward(ctx, grad_outputs):
        points, *layers = ctx.saved_tensors
        gradients = torch.ops.nerf_ssim.siren_backward(grad_outputs, points, layers, ctx.omega, ctx.precision)
        return None, gradients, None, None

    torch.library.register_fake("nerf_ssim::siren")(forward_shape)
    torch.library.register_fake("nerf_ssim::siren_keeping")(lambda i, layers, *_: forward_shape(i, layers, 1.0, ""))
    torch.library.register_fake("nerf_ssim::siren_backward")(backward_shapes)
    torch.library.register_fake("nerf_ssim::siren_kept_backward")(backward_shapes)
    torch.library.register_fake("nerf_ssim::siren_fit")(fit_shapes)
    torch.library.register_autograd("nerf_ssim::siren", backward, setup_context=setup_context)


if _HAS_NATIVE and _HAS_NATIVE_FIT:
    _register()
