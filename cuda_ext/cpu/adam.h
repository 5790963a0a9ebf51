// Adam's update on raw pointers.
#pragma once

#include <cstdint>

#include "x86_levels.h"

namespace nerf_ssim {

// The factors of one step, computed once in double precision by the caller.
struct AdamStep {
  float beta1;  // used by the masked form only
  float beta2;
  float first_weight;     // 1 - beta1
  float second_weight;    // 1 - beta2
  float root_correction;  // sqrt(1 - beta2^step), by which the root of the second moment is divided; 1 in the masked form
  float eps;
  float step_size;        // what multiplies moment / denominator
};

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
