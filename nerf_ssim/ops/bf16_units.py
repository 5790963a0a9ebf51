"""Which devices multiply bfloat16 numbers in hardware."""

from __future__ import annotations

import functools

import torch

FIRST_CAPABILITY = (8, 0)  # of GPUs with bfloat16 matrix units


@functools.cache
def hardware(device: torch.device) -> tuple[str, str]:
    """The device's bfloat16 unit, "" for none, and the device itself, in words.

    These are CPUs with AMX or AVX512_BF16, and GPUs of compute capability 8.0 and later.
    """
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        unit = "tensor cores" if capability >= FIRST_CAPABILITY else ""
        return unit, f"{torch.cuda.get_device_name(device)}, compute capability {capability[0]}.{capability[1]}"
    if torch.cpu._is_amx_tile_supported():
        return "AMX", "the CPU"
    return ("AVX512_BF16" if torch.cpu._is_avx512_bf16_supported() else ""), "the CPU"
