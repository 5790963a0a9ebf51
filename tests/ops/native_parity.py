"""What the parity tests of the native kernels share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from nerf_ssim.ops import backend
from nerf_ssim.ops import bf16_units as ops_units

# In place of the flags [3, 4, 3] of touched runs that a grid [3, 4, 70, 2] has.
_FLAGS = torch.ones(3, 4, 3, dtype=torch.uint8)
WRONG_FLAGS = {
    "a run too few": _FLAGS[..., :2].contiguous(),
    "a line too few": _FLAGS[:, :3].contiguous(),
    "flat": _FLAGS.flatten(),
    "of another type": _FLAGS.bool(),
    "strided": _FLAGS.transpose(0, 2).contiguous().transpose(0, 2),
    "expanded": _FLAGS[:1].expand(3, 4, 3),
}


def require_native(op: str) -> None:
    """Skip the test where `op` has no native kernel to compare."""
    implementation, reason = backend.describe().get(op, ("reference", "it has a kernel on other devices only"))
    if implementation != "native":
        pytest.skip(f"{op}: {reason}")


def bf16_units() -> list[str]:
    """The bfloat16 units to test native kernels on: this CPU's, and the emulations."""
    return torch.ops.nerf_ssim.bf16_units() if backend.implementation("decode_color") == "native" else ["none"]


def pretend_bf16_unit(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let the ops believe that the CPU has the unit of that name, or with "" none; native kernels use what is there."""
    monkeypatch.delenv("NERF_SSIM_BACKEND", raising=False)
    monkeypatch.setattr(ops_units, "native_unit", lambda: name)
    monkeypatch.setattr(ops_units, "is_faster", lambda unit: True)
    monkeypatch.setattr(ops_units, "torch_unit", lambda device: (name, "the CPU"))


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def value_and_gradients(function: Callable[[], Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    """The output, then the gradients of its sum with weights that differ by entry."""
    output = function()
    weights = torch.linspace(-1, 1.5, output.numel(), dtype=output.dtype).cos().reshape(output.shape)
    gradients = torch.autograd.grad(output, inputs, weights, allow_unused=True)
    return [output, *(torch.zeros_like(i) if g is None else g for i, g in zip(inputs, gradients, strict=True))]


def assert_equal_to_rounding(actual: Sequence[Tensor], exact: Sequence[Tensor], tolerance: float = 3e-6) -> None:
    """Each tensor within `tolerance` of the largest entry of its float64 counterpart."""
    for index, (a, e) in enumerate(zip(actual, exact, strict=True)):
        assert a.shape == e.shape, f"tensor {index}: {a.shape} != {e.shape}"
        if e.numel():
            error = float((a.double() - e.double()).detach().abs().max())
            assert error <= tolerance * max(1e-3, float(e.detach().abs().max())), f"tensor {index}: error {error}"
