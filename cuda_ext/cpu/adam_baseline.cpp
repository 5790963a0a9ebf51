// Adam's update compiled for any CPU; adam.cpp chooses at run time.
#include <cmath>

#include "adam.h"

#ifdef __GNUC__
#pragma GCC optimize("fp-contract=off", "no-trapping-math")
#endif
#define NERF_SSIM_ISA baseline
#if defined(__FMA__) || defined(__aarch64__)
#define NERF_SSIM_HAS_FMA true
#else
#define NERF_SSIM_HAS_FMA false
#endif
#include "adam_loop.h"

namespace nerf_ssim {

const AdamKernels& adam_kernels_baseline() {
  static const AdamKernels table{baseline::update<false>, baseline::update<true>};
  return table;
}

}  // namespace nerf_ssim
