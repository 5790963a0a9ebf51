"""Where a run computes, and what its operations and its network's products run in there."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from nerf_ssim.errors import ConfigError
from nerf_ssim.memory import Need, machine_memory, refuse_beyond
from nerf_ssim.ops import backend, decoder, nvidia, verification

__all__ = ["backend_record", "choose_device", "cpu_model", "precision_record", "refuse_beyond_device", "start_line"]

MOST_NAMED = 3
"""So many operations that fall to plain PyTorch for one reason are named; of more only the number is told."""


def choose_device(asked: str) -> str:
    """The device for `auto` (a GPU where PyTorch can use one, else the processor), or the one that is asked for.

    The first choice of a GPU compares its kernels with plain PyTorch, see `ops.verification`. A GPU that does not
    compute at all gives way to the processor, and `start_line` says so.

    Raises:
        ConfigError: a GPU that is not there.
    """
    if asked == "auto":
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    elif asked.startswith("cuda"):
        count = torch.cuda.device_count()
        index = torch.device(asked).index or 0
        if index >= count:
            found = f"{count} found" if count else f"none found ({nvidia.why_unusable() or 'no driver'})"
            raise ConfigError(f"--device {asked}: there is no such GPU; {found}. Use --device cpu")
    if asked.startswith("cuda") and verification.trusted(asked).failure:
        return "cpu"
    return asked


def refuse_beyond_device(needs: Sequence[Need], device: str) -> None:
    """Raises `ConfigError` where `needs` do not fit into the memory of a device."""
    if device.startswith("cuda"):
        total = torch.cuda.get_device_properties(device).total_memory
        refuse_beyond(needs, total, f"the GPU ({_device_name(device)})")
    else:
        refuse_beyond(needs, machine_memory())


def start_line(device: str) -> str:
    """One line for people: the device, its kernels, what falls to plain PyTorch and why, and why a GPU is not used."""
    table = backend.describe(device)
    by_reason: dict[str, list[str]] = {}
    for op, (implementation, reason) in table.items():
        if implementation == "reference":
            by_reason.setdefault(reason, []).append(op)
    native = len(table) - sum(map(len, by_reason.values()))
    kind = "CUDA" if device.startswith("cuda") else "CPU"
    parts = [f"{native} of {len(table)} operations in native {kind} kernels"]
    for reason, ops in by_reason.items():
        names = f": {', '.join(ops)}" if len(ops) <= MOST_NAMED else ""
        parts.append(f"{len(ops)} in plain PyTorch{names} ({reason})")
    if note := _why_not_on_gpu(device):
        parts.append(note)
    return f"device {device} ({_device_name(device)}): {'; '.join(parts)}"


def backend_record(device: str) -> dict[str, dict[str, str]]:
    """Each op's implementation on a device and why, for the manifest and the results."""
    return {op: {"implementation": how, "reason": why} for op, (how, why) in backend.describe(device).items()}


def precision_record(
    asked: str, device: str, effective: Callable[[str, str], tuple[str, str]] = decoder.effective_precision
) -> dict[str, str]:
    """A network's precision for the manifest and the results: `asked` for, `ran` on `device`, `reason`.

    Args:
        effective: the op's own answer; the colour decoder's unless it is given.
    """
    ran, reason = effective(asked, device)
    return {"asked": asked, "ran": ran, "reason": reason}


def cpu_model() -> str | None:
    """The processor's name and its widest vector unit that PyTorch uses, None where the system does not tell its name.

    The name alone does not do: a virtual machine gives processors of several kinds one name, and sums are rounded
    differently on each.
    """
    name, unit = _cpu_name(), torch.backends.cpu.get_cpu_capability()
    return f"{name} with {unit}" if name and unit != "DEFAULT" else name


def _cpu_name() -> str | None:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or None


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else cpu_model() or "the processor"


def _why_not_on_gpu(device: str) -> str:
    """Why a run on the processor is not on the GPU that seems to be there; "" where there is nothing to say."""
    if device != "cpu":
        return ""
    failures = (verdict.failure for verdict in verification.made().values() if verdict.failure)
    failure = next(failures, "")
    return f"CUDA does not compute here, hence the processor ({failure})" if failure else nvidia.why_unusable()
