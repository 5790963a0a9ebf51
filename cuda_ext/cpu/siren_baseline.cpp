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
  static const SirenKernels table = baseline::siren_float32_table("baseline");
  return table;
}

const SirenKernels& siren_split_kernels_emulated(int forward_terms, bool in_tiles) {
  using namespace baseline;
  return in_tiles ? siren_split_table<TileEngine<EmulatedTiles>>(forward_terms, "bf16 terms, emulated tiles")
                  : siren_split_table<VectorEngine>(forward_terms, "bf16 terms, emulated");
}

}  // namespace nerf_ssim
