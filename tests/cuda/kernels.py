"""Every CUDA kernel that the tests and docs/kernels.md know: those of the files kernels_*.py in this folder."""

from __future__ import annotations

import importlib
from pathlib import Path

from simulator import Kernel

MODULES = sorted(path.stem for path in Path(__file__).parent.glob("kernels_*.py"))
KERNELS: list[Kernel] = [kernel for module in MODULES for kernel in importlib.import_module(module).KERNELS]
