"""Which devices multiply bfloat16 numbers in hardware, and where that was measured to be faster than float32."""

from __future__ import annotations

import torch

FIRST_CAPABILITY = (8, 0)  # of GPUs with bfloat16 matrix units

# Processors on which the native decoder was timed and took less time in bfloat16. It is a table and no measurement at
# run time, so that a run and its resumption compute the same on a busy machine too. AMX took a third of float32's time
# (Xeon); AVX512_BF16 took two thirds on AMD's Zen 4, but as long as float32 on the Xeon.
FASTER_ON = {"AMX": ("GenuineIntel",), "AVX512_BF16": ("AuthenticAMD",)}


def native_unit() -> str:
    """The unit of the CPU that the native kernels use, "AMX" or "AVX512_BF16"; "" where they would emulate one."""
    fastest = torch.ops.nerf_ssim.bf16_units()[0]
    return "" if fastest.startswith("emulated") else fastest


def is_faster(unit: str) -> bool:
    """Whether the native decoder was measured to be faster with that unit of this processor than in float32."""
    return torch.ops.nerf_ssim.processor_vendor() in FASTER_ON.get(unit, ())


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
