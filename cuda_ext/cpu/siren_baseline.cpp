// The sine network compiled for any CPU (SSE2 on x86-64); siren.cpp chooses at run time.
#define NERF_SSIM_ISA baseline
#define NERF_SSIM_LANES 4
#if defined(__FMA__) || defined(__aarch64__)
#define NERF_SSIM_HAS_FMA true
#else
#define NERF_SSIM_HAS_FMA false
#endif
#include "siren_tile.h"

namespace nerf_ssim {

const SirenKernels& siren_kernels_baseline() {
  static const SirenKernels table = baseline::siren_table("baseline");
  return table;
}

}  // namespace nerf_ssim
