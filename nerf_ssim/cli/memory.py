"""Memory that is full, in one line: on a GPU, what helps depends on whether it is used or lies about in pieces."""

from __future__ import annotations

import os
import re
import sys

__all__ = ["explain_full_memory"]

UNITS = {"bytes": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40, "PiB": 2.0**50}
SETTINGS = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
SIZE = rf"([0-9.]+) ({'|'.join(UNITS)})"
IN_PIECES = re.compile(rf"{SIZE} is reserved by PyTorch but unallocated")
WANTED = re.compile(rf"(?:[Tt]ried to|Unable to) allocate {SIZE}")
OF_MACHINE = re.compile(r"DefaultCPUAllocator|bad_alloc|Storage size calculation overflowed")
"""In what PyTorch and the native kernels say where the machine's memory does not do."""
GO_ON = "--resume goes on from the last checkpoint"


def explain_full_memory(error: Exception) -> str:
    """The line for an error that a GPU's memory or the machine's is full; "" for any other error."""
    text = str(error)
    wanted = WANTED.search(text)
    asked = f" ({_amount(_size(wanted))} more were asked for)" if wanted else ""
    torch = sys.modules.get("torch")  # what has not been imported has raised nothing
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return f"the GPU's memory is full{asked}: {_advice_for_gpu(text, wanted)}. {GO_ON}"
    if isinstance(error, MemoryError) or OF_MACHINE.search(text):
        advice = "lower what makes most of it (voxels, rays of a batch, pixels), or end other programs"
        return f"the machine's memory is full{asked}: {advice}. {GO_ON}"
    return ""


def _advice_for_gpu(text: str, wanted: re.Match[str] | None) -> str:
    advice = "lower --batch_size or the number of voxels, or give --recompute 1, which keeps less for the gradient"
    in_pieces = IN_PIECES.search(text)
    if not (wanted and in_pieces and _size(in_pieces) >= _size(wanted)):
        return advice
    if any("expandable_segments:True" in os.environ.get(name, "") for name in SETTINGS):
        return advice
    return (
        f"{in_pieces[1]} {in_pieces[2]} are free in pieces that are too small: set {SETTINGS[1]}="
        f"expandable_segments:True; or {advice}"
    )


def _size(found: re.Match[str]) -> float:
    return float(found[1]) * UNITS[found[2]]


def _amount(size: float) -> str:
    """A number of bytes in the largest unit of which there is a whole one."""
    unit, factor = next(((unit, factor) for unit, factor in reversed(UNITS.items()) if size >= factor), ("bytes", 1.0))
    return f"{size / factor:.2f} {unit}" if factor > 1 else f"{size:.0f} {unit}"
