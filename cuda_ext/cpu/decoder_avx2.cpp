// The colour decoder compiled for x86-64-v3 (AVX2 and fused multiply-add); decoder.cpp chooses at run time.
#include "decoder.h"

#ifdef NERF_SSIM_HAS_X86_LEVELS

// The standard headers come first: what they define inline must stay compiled for any CPU.
#include <cmath>
#include <cstring>

#pragma GCC target("arch=x86-64-v3")

#define NERF_SSIM_ISA avx2
#define NERF_SSIM_LANES 8
#define NERF_SSIM_HAS_FMA true
#include "decoder_tile.h"

namespace nerf_ssim {

const DecoderKernels& decoder_kernels_avx2() {
  static const DecoderKernels table = avx2::kernels<avx2::Float32Products>("avx2");
  return table;
}

}  // namespace nerf_ssim

#endif
