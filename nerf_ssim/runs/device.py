"""Where a run computes, and what its operations and its network's products run in there."""

from __future__ import annotations

from collections.abc import Callable

import torch

from nerf_ssim.errors import ConfigError
from nerf_ssim.ops import backend, decoder

__all__ = ["backend_record", "choose_device", "precision_record", "start_line"]


def choose_device(asked: str) -> str:
    """The device for `auto` (a GPU where PyTorch can use one, else the processor), or the one that is asked for.

    Raises:
        ConfigError: a GPU that is not there.
    """
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked.startswith("cuda"):
        count = torch.cuda.device_count()
        index = torch.device(asked).index or 0
        if index >= count:
            found = f"{count} found" if count else "none found (no driver, or a CPU build of torch)"
            raise ConfigError(f"--device {asked}: there is no such GPU; {found}. Use --device cpu")
    return asked


def start_line(device: str) -> str:
    """One line for people: the device, and how many operations run in kernels or in plain PyTorch there, and why."""
    table = backend.describe(device)
    reasons: dict[str, int] = {}
    for implementation, reason in table.values():
        if implementation == "reference":
            reasons[reason] = reasons.get(reason, 0) + 1
    native = len(table) - sum(reasons.values())
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "the processor"
    served = f"{native} of {len(table)} operations in native kernels"
    rest = "".join(f"; {count} in plain PyTorch ({reason})" for reason, count in reasons.items())
    return f"device {device} ({name}): {served}{rest}"


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
