"""Which implementation of an op serves a call, and why.

The native extension `nerf_ssim._C` registers its kernels as torch operators `nerf_ssim::<op>`; `nerf_ssim._C_cuda`, if
it is built, adds those for CUDA tensors. A call goes there when the extension is loaded, has a kernel for the tensors'
device and takes their dtype; else to `ops.reference`.
`NERF_SSIM_BACKEND` = `auto` (default), `reference` or `native` forces the choice; `NERF_SSIM_NO_EXT=1` behaves as if
the extension had not been built.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import pkgutil
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from nerf_ssim.errors import ConfigError

Implementation = Literal["native", "reference"]

_DTYPES: dict[str, tuple[torch.dtype, ...]] = {}  # declared ops and the floating dtypes that their kernels take
_KEYS = {"cpu": "CPU", "cuda": "CUDA"}


def declare(op: str, *, dtypes: tuple[torch.dtype, ...] = (torch.float32,)) -> bool:
    """Announce an op that may have a native kernel, and the floating dtypes the kernel takes.

    Returns:
        Whether the loaded extension defines `nerf_ssim::<op>`, so that the caller can register its autograd formula.
    """
    _DTYPES[op] = dtypes
    return _load_failure() is None and _is_defined(op)


def implementation(op: str, *tensors: Tensor | None) -> Implementation:
    """Which implementation a call of `op` on `tensors` uses (`None` entries are skipped).

    Raises:
        ConfigError: `NERF_SSIM_BACKEND=native` where native code cannot serve, or an unknown value of it.
    """
    mode = os.environ.get("NERF_SSIM_BACKEND", "auto")
    if mode == "reference":
        return "reference"
    reason = _why_not_native(op, tensors)
    if mode == "auto":
        return "reference" if reason else "native"
    if mode != "native":
        raise ConfigError(f"NERF_SSIM_BACKEND={mode}: choose auto, reference or native")
    if reason:
        raise ConfigError(f"NERF_SSIM_BACKEND=native: {op} cannot run natively ({reason}); use auto")
    return "native"


def describe(device: torch.device | str = "cpu") -> dict[str, tuple[Implementation, str]]:
    """For each op: the implementation that a float32 call on `device` uses, and the reason."""
    import nerf_ssim.ops as package

    for module in pkgutil.iter_modules(package.__path__):
        if not module.ispkg:
            importlib.import_module(f"{package.__name__}.{module.name}")
    mode, kind = os.environ.get("NERF_SSIM_BACKEND", "auto"), torch.device(device).type
    table: dict[str, tuple[Implementation, str]] = {}
    for op in sorted(_DTYPES):
        reason = "NERF_SSIM_BACKEND=reference" if mode == "reference" else _why_not_native(op, (), kind)
        table[op] = ("reference", reason) if reason else ("native", f"compiled {_KEYS.get(kind, kind)} kernel")
    return table


def _why_not_native(op: str, tensors: tuple[Tensor | None, ...], device: str = "cpu") -> str:
    """Why a call of `op` on `tensors` (on `device` where there are none) cannot go to native code; "" where it can."""
    failure = _load_failure()
    if failure is not None:
        return failure
    device = next((tensor.device.type for tensor in tensors if tensor is not None), device)
    if not _has_kernel(op, device):
        return (_cuda_failure() if device == "cuda" else "") or f"no {device} kernel in the extension"
    dtypes = _DTYPES.get(op, (torch.float32,))
    for tensor in tensors:
        if tensor is None:
            continue
        if tensor.device.type != device:
            return "tensors on different devices"
        if tensor.is_floating_point() and tensor.dtype not in dtypes:
            return f"no kernel for {tensor.dtype}"
    return ""


@functools.cache
def _load_failure() -> str | None:
    """Load the extension once; why that failed, or None."""
    if os.environ.get("NERF_SSIM_NO_EXT", "0") not in ("", "0"):
        return "NERF_SSIM_NO_EXT is set"
    failure = _load("nerf_ssim._C", "the extension", "cuda_ext/bindings")
    if failure is None:
        _cuda_failure()
    return failure


@functools.cache
def _cuda_failure() -> str | None:
    """Load the CUDA kernels once; why that failed, or None."""
    return _load("nerf_ssim._C_cuda", "the extension's CUDA part", "cuda_ext/bindings/cuda")


def _load(module: str, what: str, definitions: str) -> str | None:
    """Import an extension unless, in a checkout, operators have been defined anew in `definitions` since it was built:
    calling them with other arguments than Python knows would fail far from the cause."""
    spec = importlib.util.find_spec(module)
    if spec is not None and spec.origin is not None:
        built = Path(spec.origin)
        sources = (built.parents[1] / definitions).glob("*.cpp")
        if any(path.stat().st_mtime > built.stat().st_mtime for path in sources):
            return f"{what} is older than {definitions}; build it again: python setup.py build_ext --inplace"
    try:
        importlib.import_module(module)
    except ModuleNotFoundError:
        return f"{what} is not built"
    except ImportError as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"{what} does not load: {first_line}"
    return None


@functools.cache
def _is_defined(op: str) -> bool:
    return f"nerf_ssim::{op}" in torch._C._dispatch_get_all_op_names()


@functools.cache
def _has_kernel(op: str, device: str) -> bool:
    key = _KEYS.get(device)
    return (
        key is not None and _is_defined(op) and torch._C._dispatch_has_kernel_for_dispatch_key(f"nerf_ssim::{op}", key)
    )
