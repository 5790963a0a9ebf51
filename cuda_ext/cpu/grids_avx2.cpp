// The grid kernels compiled for x86-64-v3 (AVX2 and fused multiply-add); grids.cpp chooses at run time.
#include "grids.h"

#ifdef NERF_SSIM_HAS_X86_LEVELS

// The standard headers come first: what they define inline must stay compiled for any CPU.
#include <cmath>
#include <cstring>

#pragma GCC target("arch=x86-64-v3")

#define NERF_SSIM_ISA avx2
#define NERF_SSIM_LANES 8
#define NERF_SSIM_HAS_FMA true
#include "grids_kernels.h"

namespace nerf_ssim {

const GridKernels& grid_kernels_avx2() {
  static const GridKernels table = avx2::grid_kernels();
  return table;
}

}  // namespace nerf_ssim

#endif
