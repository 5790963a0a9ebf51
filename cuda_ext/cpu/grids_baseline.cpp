// The grid kernels compiled for any CPU; grids.cpp chooses at run time.
#include "grids.h"

#include <cmath>
#include <cstring>

#define NERF_SSIM_ISA baseline
#define NERF_SSIM_LANES 4
#define NERF_SSIM_HAS_FMA false
#include "grids_kernels.h"

namespace nerf_ssim {

const GridKernels& grid_kernels_baseline() {
  static const GridKernels table = baseline::grid_kernels();
  return table;
}

}  // namespace nerf_ssim
