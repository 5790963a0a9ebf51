// The colour decoder in bfloat16 products, compiled for AVX512_BF16 and for AMX; decoder.cpp chooses at run time.
#include "decoder.h"

#ifdef NERF_SSIM_HAS_X86_LEVELS

// The standard headers come first: what they define inline must stay compiled for any CPU.
#include <cmath>
#include <cstring>

#pragma GCC target("arch=x86-64-v4,avx512bf16,prefer-vector-width=512")
#include <immintrin.h>

#define NERF_SSIM_ISA avx512_bf16
#define NERF_SSIM_LANES 16
#define NERF_SSIM_HAS_FMA true
#define NERF_SSIM_HAS_BF16
#include "decoder_tile.h"

namespace nerf_ssim {

const DecoderKernels& decoder_bf16_kernels(bool has_amx) {
  using namespace avx512_bf16;
  static const DecoderKernels vectors = kernels<Bf16Products<1, VectorEngine>>("bf16, avx512_bf16");
  static const DecoderKernels tiles = kernels<Bf16Products<1, TileEngine<AmxTiles>>>("bf16, amx");
  return has_amx ? tiles : vectors;
}

}  // namespace nerf_ssim

#endif
