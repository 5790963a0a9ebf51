"""Which devices multiply bfloat16 numbers in hardware."""

from __future__ import annotations

import torch

FIRST_CAPABILITY = (8, 0)  # of GPUs with bfloat16 matrix units


def native_unit() -> str:
    """The unit of the CPU that the native kernels use, "AMX" or "AVX512_BF16"; "" where they would emulate one."""
    fastest = torch.ops.nerf_ssim.bf16_units()[0]
    return "" if fastest.startswith("emulated") else fastest


def torch_unit(device: torch.device) -> tuple[str, str]:
    """The device's unit as PyTorch's own products use it, "" for none, and the device itself, in words.

    These are CPUs with AMX or AVX512_BF16, and GPUs of compute capability 8.0 and later.
    """
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        unit = "tensor cores" if capability >= FIRST_CAPABILITY else ""
        return unit, f"{torch.cuda.get_device_name(device)}, compute capability {capability[0]}.{capability[1]}"
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # older PyTorch does not tell
    if capabilities.get("amx_tile") and capabilities.get("amx_bf16"):
        return "AMX", "the CPU"
    return ("AVX512_BF16" if capabilities.get("avx512_bf16") else ""), "the CPU"
