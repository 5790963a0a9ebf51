"""Which implementation of an op serves a call, and why.

The native extension `nerf_ssim._C` registers its kernels as torch operators `nerf_ssim::<operator>`;
`nerf_ssim._C_cuda`, if it is built, adds those for CUDA tensors. A call goes there when the extension is loaded, has
every operator of the op exactly as the op's declaration states it, has kernels for the tensors' device and takes their
dtype; else it goes to `ops.reference`.
`NERF_SSIM_BACKEND` = `auto` (default), `reference` or `native` forces the choice; `NERF_SSIM_NO_EXT=1` behaves as if
the extension had not been built.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.resources
import importlib.util
import os
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from nerf_ssim.errors import ConfigError

if TYPE_CHECKING:
    from nerf_ssim.ops.declaration import Op

Implementation = Literal["native", "reference"]

BUILD = "python setup.py build_ext --inplace"
"""The command that builds the extension in a checkout."""

_KEYS = {"cpu": "CPU", "cuda": "CUDA"}  # PyTorch's names for the devices that kernels are registered for
_PARTS = {"cpu": ("nerf_ssim._C", "the extension"), "cuda": ("nerf_ssim._C_cuda", "the extension's CUDA part")}
_declared: dict[str, Op] = {}
_load_failures: dict[str, str] = {}  # by device: why that part of the extension is not there; "" where it is
_distrusted: dict[tuple[str, str], str] = {}  # op and device: why its kernel is not used although it is there
_reasons: dict[tuple[str, str], str] = {}  # op and device: what `_why_not_there` found


def add(op: Op) -> bool:
    """Enter a declared op; whether the extension defines the op's operators as declared."""
    _declared[op.name] = op
    return not (_load_failure("cpu") or _why_other_schemas(op))


def declared() -> dict[str, Op]:
    """Every op of `nerf_ssim.ops` by name, in alphabetical order."""
    import nerf_ssim.ops as package

    for module in pkgutil.iter_modules(package.__path__):
        if not module.ispkg:
            importlib.import_module(f"{package.__name__}.{module.name}")
    return dict(sorted(_declared.items()))


def implementation(op: str, *tensors: Tensor | None) -> Implementation:
    """Which implementation a call of `op` on `tensors` uses (`None` entries are skipped).

    Raises:
        ConfigError: `NERF_SSIM_BACKEND=native` where native code cannot serve, or an unknown value of it.
    """
    mode = _mode()
    if mode == "reference" or not _is_meant_for(op, tensors):
        return "reference"
    reason = _why_not_native(op, tensors)
    if reason and mode == "native":
        raise ConfigError(f"NERF_SSIM_BACKEND=native: {op} cannot run natively ({reason}); use auto")
    return "reference" if reason else "native"


def describe(device: torch.device | str = "cpu") -> dict[str, tuple[Implementation, str]]:
    """For each op: the implementation that a float32 call on `device` uses, and the reason.

    Ops are left out whose kernels are made for other devices, because plain PyTorch is as good here.
    """
    mode, kind = _mode(), torch.device(device).type
    table: dict[str, tuple[Implementation, str]] = {}
    for op, declaration in declared().items():
        if kind in _KEYS and kind not in declaration.devices:
            continue
        reason = "NERF_SSIM_BACKEND=reference" if mode == "reference" else _why_not_there(op, kind)
        table[op] = ("reference", reason) if reason else ("native", f"compiled {_KEYS.get(kind, kind)} kernel")
    return table


def distrust(op: str, device: str, reason: str) -> None:
    """Serve `op` by the reference on devices of this kind ("cpu", "cuda") from now on, and say why."""
    _distrusted[op, device] = reason
    _reasons.clear()


def give_up_part(device: str, reason: str) -> None:
    """Never load the part of the extension for this kind of device, because loading it would end the process."""
    _load_failures.setdefault(device, reason)
    _reasons.clear()


def extension_digest() -> str:
    """A digest of the extension's files, "" where none is built."""
    digest = hashlib.sha256()
    found = False
    for module, _ in _PARTS.values():
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin is not None:
            digest.update(Path(spec.origin).read_bytes())
            found = True
    return digest.hexdigest() if found else ""


@torch.compiler.assume_constant_result
def _mode() -> str:
    mode = os.environ.get("NERF_SSIM_BACKEND", "auto")
    if mode not in ("auto", "reference", "native"):
        raise ConfigError(f"NERF_SSIM_BACKEND={mode}: choose auto, reference or native")
    return mode


def _is_meant_for(op: str, tensors: tuple[Tensor | None, ...]) -> bool:
    """Whether kernels of `op` are made for the tensors' device."""
    declaration = _declared.get(op)
    if declaration is None or len(declaration.devices) == len(_KEYS):
        return True
    device = next((tensor.device.type for tensor in tensors if tensor is not None), "cpu")
    return device in declaration.devices


def _why_not_native(op: str, tensors: tuple[Tensor | None, ...]) -> str:
    """Why a call of `op` on `tensors` (on the CPU where there are none) cannot go to native code; "" where it can."""
    device = "cpu"
    for tensor in tensors:
        if tensor is not None:
            device = tensor.device.type
            break
    reason = _why_not_there(op, device)
    if reason:
        return reason
    dtypes = _declared[op].dtypes
    for tensor in tensors:
        if tensor is None:
            continue
        if tensor.device.type != device:
            return "tensors on different devices"
        if tensor.is_floating_point() and tensor.dtype not in dtypes:
            return f"no kernel for {tensor.dtype}"
    return ""


@torch.compiler.assume_constant_result  # a call that is compiled asks while it is traced
def _why_not_there(op: str, device: str) -> str:
    """Why there is no kernel of `op` for this kind of device; "" where there is one."""
    if (op, device) not in _reasons:
        _reasons[op, device] = _find_kernel(op, device)
    return _reasons[op, device]


def _find_kernel(name: str, device: str) -> str:
    op = _declared.get(name) or declared().get(name)
    if op is None:
        return "no such op"
    if reason := _load_failure("cpu") or _why_other_schemas(op) or _distrusted.get((name, device), ""):
        return reason
    missing = f"no {device} kernel in the extension"
    if device not in _KEYS:
        return missing
    part_failure = _load_failure(device)
    has_kernels = all(
        getattr(torch.ops.nerf_ssim, operator).default.has_kernel_for_dispatch_key(_KEYS[device])
        for operator in op.kernels.get(device, op.operator_names)
    )
    return "" if has_kernels else part_failure or missing


def _why_other_schemas(op: Op) -> str:
    """What tells that the extension was built from other sources than these: an operator that it defines otherwise.

    Calling it with the arguments that Python knows would fail far from the cause.
    """
    for schema, name in zip(op.operators, op.operator_names, strict=True):
        if not hasattr(torch.ops.nerf_ssim, name):
            return f"the extension is of other sources, it has no operator {name}; build it again: {BUILD}"
        if str(getattr(torch.ops.nerf_ssim, name).default._schema) != f"nerf_ssim::{schema}":
            return f"the extension is of other sources, its operator {name} differs; build it again: {BUILD}"
    return ""


def _load_failure(device: str) -> str:
    """Load the part of the extension for this kind of device, once; why that failed, or ""."""
    if device not in _load_failures:
        _load_failures[device] = _load(*_PARTS[device])
    return _load_failures[device]


def _load(module: str, what: str) -> str:
    """Import a part of the extension; why that failed, or ""."""
    if os.environ.get("NERF_SSIM_NO_EXT", "0") not in ("", "0"):
        return "NERF_SSIM_NO_EXT is set"
    try:
        importlib.import_module(module)
    except ModuleNotFoundError:
        return f"{what} is not built{_why_not_built() if module.endswith('._C') else ''}"
    except ImportError as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"{what} does not load: {first_line}"
    return ""


def _why_not_built() -> str:
    """What the build left as the reason, after a colon; "" where it left none."""
    try:
        kept = (importlib.resources.files("nerf_ssim") / "without_kernels.txt").read_text(encoding="utf-8")
    except OSError:
        return ""
    return f": {kept.strip()}"
