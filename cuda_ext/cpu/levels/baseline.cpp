// The level of any CPU (SSE2 on x86-64), and the emulations of bfloat16 units, which run on all of them.
#include "tables.h"

#define NERF_SSIM_ISA baseline
#define NERF_SSIM_LANES 4
#if defined(__FMA__) || defined(__aarch64__)
#define NERF_SSIM_HAS_FMA true
#else
#define NERF_SSIM_HAS_FMA false
#endif
#include "kernels.h"
#include "adam_kernels.h"

namespace nerf_ssim {

using namespace baseline;

const DecoderKernels& decoder_bf16_kernels_emulated(bool in_tiles) {
  static const DecoderKernels plain = kernels<Bf16Products<1, VectorEngine>>("bf16, emulated");
  static const DecoderKernels tiled = kernels<Bf16Products<1, TileEngine<EmulatedTiles>>>("bf16, emulated tiles");
  return in_tiles ? tiled : plain;
}

const SirenKernels& siren_split_kernels_emulated(int forward_terms, bool in_tiles) {
  return in_tiles ? siren_split_table<TileEngine<EmulatedTiles>>(forward_terms, "bf16 terms, emulated tiles")
                  : siren_split_table<VectorEngine>(forward_terms, "bf16 terms, emulated");
}

}  // namespace nerf_ssim
