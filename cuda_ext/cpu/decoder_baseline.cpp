// The colour decoder compiled for any CPU (SSE2 on x86-64); decoder.cpp chooses at run time.
#define NERF_SSIM_ISA baseline
#define NERF_SSIM_LANES 4
#if defined(__FMA__) || defined(__aarch64__)
#define NERF_SSIM_HAS_FMA true
#else
#define NERF_SSIM_HAS_FMA false
#endif
#include "decoder_tile.h"

namespace nerf_ssim {

const DecoderKernels& decoder_kernels_baseline() {
  static const DecoderKernels table = baseline::kernels<baseline::Float32Products>("baseline");
  return table;
}

const DecoderKernels& decoder_bf16_kernels_emulated(bool in_tiles) {
  using namespace baseline;
  static const DecoderKernels plain = kernels<Bf16Products<1, VectorEngine>>("bf16, emulated");
  static const DecoderKernels tiled = kernels<Bf16Products<1, TileEngine<EmulatedTiles>>>("bf16, emulated tiles");
  return in_tiles ? tiled : plain;
}

}  // namespace nerf_ssim
