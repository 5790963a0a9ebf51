// Runs of voxels compiled for x86-64-v3 (AVX2 and fused multiply-add).
#include "voxel_adam.h"

#ifdef NERF_SSIM_HAS_X86_LEVELS

#include <xmmintrin.h>

#include <cmath>
#include <cstring>  // these come before the pragma: what they define inline must stay compiled for any CPU

#pragma GCC target("arch=x86-64-v3")
#pragma GCC optimize("fp-contract=off", "no-trapping-math")
#define NERF_SSIM_ISA avx2
#define NERF_SSIM_HAS_FMA true
#include "voxel_adam_loop.h"

namespace nerf_ssim {

const VoxelAdamKernels& voxel_adam_kernels_avx2() {
  static const VoxelAdamKernels table{avx2::add_tv, avx2::any_gradient, avx2::update_elements};
  return table;
}

}  // namespace nerf_ssim

#endif
