"""Every CUDA kernel that the tests and docs/kernels.md know; a file of kernels adds its module here."""

from __future__ import annotations

from simulator import Kernel

KERNELS: list[Kernel] = []
