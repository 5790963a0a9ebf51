// Adam's update compiled for x86-64-v3 (AVX2 and fused multiply-add); memory-bound, so wider registers gain nothing.
#include "adam.h"

#ifdef NERF_SSIM_HAS_X86_LEVELS

#include <xmmintrin.h>

#include <cmath>  // these come before the pragma: what they define inline must stay compiled for any CPU

#pragma GCC target("arch=x86-64-v3")
#pragma GCC optimize("fp-contract=off", "no-trapping-math")
#define NERF_SSIM_ISA avx2
#define NERF_SSIM_HAS_FMA true
#include "adam_loop.h"

namespace nerf_ssim {

const AdamKernels& adam_kernels_avx2() {
  static const AdamKernels table{avx2::update<false>, avx2::update<true>};
  return table;
}

}  // namespace nerf_ssim

#endif
