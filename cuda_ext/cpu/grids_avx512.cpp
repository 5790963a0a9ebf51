// The grid kernels compiled for x86-64-v4 (AVX-512); grids.cpp chooses at run time.
#include "grids.h"

#ifdef NERF_SSIM_HAS_X86_LEVELS

// The standard headers come first: what they define inline must stay compiled for any CPU.
#include <cmath>
#include <cstring>

#pragma GCC target("arch=x86-64-v4")

#define NERF_SSIM_ISA avx512
#define NERF_SSIM_LANES 16
#define NERF_SSIM_HAS_FMA true
#include "grids_kernels.h"

namespace nerf_ssim {

const GridKernels& grid_kernels_avx512() {
  static const GridKernels table = avx512::grid_kernels();
  return table;
}

}  // namespace nerf_ssim

#endif
