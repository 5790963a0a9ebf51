// Adam's update on raw pointers.
#pragma once

#include <cstdint>

#include "../include/adam_step.h"
#include "x86_levels.h"

namespace nerf_ssim {

struct AdamKernels {
  void (*update)(const AdamStep&, int64_t count, float* param, const float* grad, float* exp_avg, float* exp_avg_sq);
  void (*masked_update)(
      const AdamStep&, int64_t count, float* param, const float* grad, float* exp_avg, float* exp_avg_sq);
};

const AdamKernels& adam_kernels_baseline();
#ifdef NERF_SSIM_HAS_X86_LEVELS
const AdamKernels& adam_kernels_avx2();
#endif

// Every element is updated; with `is_masked`, those whose gradient is zero are left alone. `threads` share the range.
void adam_update(
    const AdamStep&, bool is_masked, int64_t count, float* param, const float* grad, float* exp_avg,
    float* exp_avg_sq, int threads);

}  // namespace nerf_ssim
