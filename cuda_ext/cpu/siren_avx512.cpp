// The sine network compiled for x86-64-v4 (AVX-512); siren.cpp chooses at run time.
#include "siren.h"

#ifdef NERF_SSIM_HAS_X86_LEVELS

// The standard headers come first: what they define inline must stay compiled for any CPU.
#include <cmath>
#include <cstring>

#pragma GCC target("arch=x86-64-v4,prefer-vector-width=512")

#define NERF_SSIM_ISA avx512
#define NERF_SSIM_LANES 16
#define NERF_SSIM_HAS_FMA true
#include "siren_tile.h"

namespace nerf_ssim {

const SirenKernels& siren_kernels_avx512() {
  static const SirenKernels table = avx512::siren_float32_table("avx512");
  return table;
}

}  // namespace nerf_ssim

#endif
