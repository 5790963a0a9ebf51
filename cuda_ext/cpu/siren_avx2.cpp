// The sine network compiled for x86-64-v3 (AVX2 and fused multiply-add); siren.cpp chooses at run time.
#include "siren.h"

#ifdef NERF_SSIM_HAS_X86_LEVELS

// The standard headers come first: what they define inline must stay compiled for any CPU.
#include <cmath>
#include <cstring>

#pragma GCC target("arch=x86-64-v3")

#define NERF_SSIM_ISA avx2
#define NERF_SSIM_LANES 8
#define NERF_SSIM_HAS_FMA true
#include "siren_tile.h"

namespace nerf_ssim {

const SirenKernels& siren_kernels_avx2() {
  static const SirenKernels table = avx2::siren_float32_table("avx2");
  return table;
}

}  // namespace nerf_ssim

#endif
