// The grids' kernels, whose text depends on the width of a register, compiled for the level of the including file,
// which has included tables.h, chosen its target (`#pragma GCC target`) and defined NERF_SSIM_ISA (a namespace: the
// linker can then never hand code for one level to another), NERF_SSIM_LANES (floats in a register) and
// NERF_SSIM_HAS_FMA.
#pragma once

#include "../grids_kernels.h"
#include "names.h"

namespace nerf_ssim {

const GridKernels& NERF_SSIM_OF_LEVEL(grid_kernels)() {
  static const GridKernels table = NERF_SSIM_ISA::grid_kernels();
  return table;
}

}  // namespace nerf_ssim
