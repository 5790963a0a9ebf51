// Networks in products of bfloat16 numbers, for x86-64-v4 with AVX512_BF16, and with AMX.
#include "tables.h"

#ifdef NERF_SSIM_HAS_X86_LEVELS
#pragma GCC target("arch=x86-64-v4,avx512bf16,prefer-vector-width=512")
#include <immintrin.h>

#define NERF_SSIM_ISA avx512_bf16
#define NERF_SSIM_LANES 16
#define NERF_SSIM_HAS_FMA true
#define NERF_SSIM_HAS_BF16
#include "../decoder_tile.h"
#include "../siren_tile.h"

namespace nerf_ssim {

using namespace avx512_bf16;

const DecoderKernels& decoder_bf16_kernels(bool has_amx) {
  static const DecoderKernels vectors = kernels<Bf16RowProducts<VectorEngine>>("bf16, avx512_bf16");
  static const DecoderKernels tiles = kernels<Bf16RowProducts<TileEngine<AmxTiles>>>("bf16, amx");
  return has_amx ? tiles : vectors;
}

const SirenKernels& siren_split_kernels(int forward_terms, bool has_amx) {
  return has_amx ? siren_split_table<TileEngine<AmxTiles>>(forward_terms, "bf16 terms, amx")
                 : siren_split_table<VectorEngine>(forward_terms, "bf16 terms, avx512_bf16");
}

}  // namespace nerf_ssim
#endif
