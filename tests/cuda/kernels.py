"""Every CUDA kernel that the tests and docs/kernels.md know; a file of kernels adds its module here."""

from __future__ import annotations

import kernels_accumulate
import kernels_adam
import kernels_alpha_compositing
import kernels_compositing
import kernels_contracted
import kernels_gather
import kernels_grids
import kernels_marching
import kernels_planes
import kernels_s3im
import kernels_ssim
import kernels_voxel_adam
import kernels_voxels
from simulator import Kernel

KERNELS: list[Kernel] = [
    *kernels_grids.KERNELS,
    *kernels_gather.KERNELS,
    *kernels_marching.KERNELS,
    *kernels_compositing.KERNELS,
    *kernels_accumulate.KERNELS,
    *kernels_planes.KERNELS,
    *kernels_adam.KERNELS,
    *kernels_voxels.KERNELS,
    *kernels_contracted.KERNELS,
    *kernels_alpha_compositing.KERNELS,
    *kernels_voxel_adam.KERNELS,
    *kernels_ssim.KERNELS,
    *kernels_s3im.KERNELS,
]
