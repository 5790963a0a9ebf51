// Runs of voxels compiled for any CPU; voxel_adam.cpp chooses at run time.
#include <cmath>
#include <cstring>

#include "voxel_adam.h"

#ifdef __GNUC__
#pragma GCC optimize("fp-contract=off", "no-trapping-math")
#endif
#define NERF_SSIM_ISA baseline
#if defined(__FMA__) || defined(__aarch64__)
#define NERF_SSIM_HAS_FMA true
#else
#define NERF_SSIM_HAS_FMA false
#endif
#include "voxel_adam_loop.h"

namespace nerf_ssim {

const VoxelAdamKernels& voxel_adam_kernels_baseline() {
  static const VoxelAdamKernels table{baseline::add_tv, baseline::any_gradient, baseline::update_elements};
  return table;
}

}  // namespace nerf_ssim
