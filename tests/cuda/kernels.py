"""Every CUDA kernel that the tests and docs/kernels.md know; a file of kernels adds its module here."""

from __future__ import annotations

import kernels_s3im
import kernels_ssim
from simulator import Kernel

KERNELS: list[Kernel] = [*kernels_ssim.KERNELS, *kernels_s3im.KERNELS]
