"""The same bits at every run: what PyTorch and CUDA are told for it, while a run lasts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["repeatable"]

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
FITTING_WORKSPACES = (":4096:8", ":16:8")
"""With one of these cuBLAS adds products up in a fixed order; it reads the variable at its first product."""


@contextmanager
def repeatable(is_asked_for: bool) -> Iterator[None]:
    """Within the block, where it is asked for, every operation gives the same bits at every call.

    Ours take their kernels that add in a fixed order, PyTorch's own likewise, and one that has none is an error instead
    of a result that changes. On a CPU the bits are the same without that. What was set before returns afterwards, but
    for cuBLAS's variable, which has been read by then.
    """
    if not is_asked_for:
        yield
        return
    if os.environ.get(WORKSPACE) not in FITTING_WORKSPACES:
        os.environ[WORKSPACE] = FITTING_WORKSPACES[0]
    was_on, warned_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    was_filling = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True)
    # Memory is never read before it is written here.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was_on, warn_only=warned_only)
        torch.utils.deterministic.fill_uninitialized_memory = was_filling  # type: ignore[attr-defined]
