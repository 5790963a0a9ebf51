"""What the CPU draws, on its way to the device that computes."""

from __future__ import annotations

import torch
from torch import Tensor


def sent_to(device: torch.device | str, values: Tensor) -> Tensor:
    """`values` of the CPU on `device`. To a GPU they go from page-locked memory, so that nothing waits for the copy."""
    is_copied = torch.device(device).type == "cuda" and values.device.type == "cpu"
    if is_copied and not torch.compiler.is_compiling():
        values = values.pin_memory()
    return values.to(device, non_blocking=True)
