"""A GPU whose memory is full, in one line: what helps depends on whether the memory is used or lies about in pieces."""

from __future__ import annotations

import os
import re
import sys

__all__ = ["explain_full_memory"]

UNITS = {"bytes": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
SETTINGS = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
IN_PIECES = re.compile(r"([0-9.]+) (bytes|KiB|MiB|GiB) is reserved by PyTorch but unallocated")
WANTED = re.compile(r"Tried to allocate ([0-9.]+) (bytes|KiB|MiB|GiB)")


def explain_full_memory(error: Exception) -> str:
    """The line for PyTorch's error that a GPU's memory is full; "" for any other error."""
    torch = sys.modules.get("torch")  # what has not been imported has raised nothing
    if torch is None or not isinstance(error, torch.OutOfMemoryError):
        return ""
    text = str(error)
    wanted, in_pieces = WANTED.search(text), IN_PIECES.search(text)
    asked = f" ({wanted[1]} {wanted[2]} more were asked for)" if wanted else ""
    advice = "lower --batch_size or the number of voxels, or give --recompute 1, which keeps less for the gradient"
    would_fit = wanted and in_pieces and _size(in_pieces) >= _size(wanted)
    if would_fit and not any("expandable_segments:True" in os.environ.get(name, "") for name in SETTINGS):
        assert in_pieces is not None
        advice = (
            f"{in_pieces[1]} {in_pieces[2]} are free in pieces that are too small: set {SETTINGS[1]}="
            f"expandable_segments:True; or {advice}"
        )
    return f"the GPU's memory is full{asked}: {advice}. --resume goes on from the last checkpoint"


def _size(found: re.Match[str]) -> float:
    return float(found[1]) * UNITS[found[2]]
