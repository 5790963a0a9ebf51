// The colour decoder compiled for x86-64-v4 (AVX-512); decoder.cpp chooses at run time.
#include "decoder.h"

#ifdef NERF_SSIM_HAS_X86_LEVELS

// The standard headers come first: what they define inline must stay compiled for any CPU.
#include <cmath>
#include <cstring>

#pragma GCC target("arch=x86-64-v4,prefer-vector-width=512")

#define NERF_SSIM_ISA avx512
#define NERF_SSIM_LANES 16
#define NERF_SSIM_HAS_FMA true
#include "decoder_tile.h"

namespace nerf_ssim {

const DecoderKernels& decoder_kernels_avx512() {
  static const DecoderKernels table = avx512::kernels<avx512::Float32Products>("avx512");
  return table;
}

}  // namespace nerf_ssim

#endif
