// The sine network in products of bfloat16 terms, compiled for AVX512_BF16 and for AMX; siren.cpp chooses at run time.
#include "siren.h"

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
#include "siren_tile.h"

namespace nerf_ssim {

const SirenKernels& siren_split_kernels(int forward_terms, bool has_amx) {
  using namespace avx512_bf16;
  return has_amx ? siren_split_table<TileEngine<AmxTiles>>(forward_terms, "bf16 terms, amx")
                 : siren_split_table<VectorEngine>(forward_terms, "bf16 terms, avx512_bf16");
}

}  // namespace nerf_ssim

#endif
