// Adam's update of a run of elements, each read once and written once; included by levels/adam_kernels.h.
//
// Operations and their rounding are those of torch.optim.Adam's tensor operations one after the other. The moments then
// agree bit for bit; parameters do up to the square root, which is correctly rounded here and not in the library that
// torch calls.
#pragma once

#include "levels/tables.h"
#include "square_roots.h"

namespace nerf_ssim::NERF_SSIM_ISA {

constexpr int kRun = 64;  // elements taken together: their second moments and roots stay in the first cache

#define NERF_SSIM_INLINE inline __attribute__((always_inline))

// a * b + c, rounded once where the machine can: as the vectorised lerp, add and addcmul of torch do.
NERF_SSIM_INLINE float fused(float a, float b, float c) {
  return NERF_SSIM_HAS_FMA ? __builtin_fmaf(a, b, c) : a * b + c;
}

// One run of up to kRun elements. In the masked form, elements whose gradient is zero keep all they have. `rates`, one
// factor on the step an element, is read where there are rates.
template <bool kMasked, bool kRates = false>
NERF_SSIM_INLINE void update_run(const AdamStep& step, int count, float* __restrict param, const float* __restrict grad,
                                 float* __restrict exp_avg, float* __restrict exp_avg_sq,
                                 const float* __restrict rates = nullptr) {
  float first[kRun];
  float root[kRun] = {};
  for (int i = 0; i < count; ++i) {
    const float g = grad[i];
    const float second = fused(step.second_weight * g, g, exp_avg_sq[i] * step.beta2);
    first[i] = kMasked ? fused(step.first_weight, g, exp_avg[i] * step.beta1)
                       : fused(step.first_weight, g - exp_avg[i], exp_avg[i]);
    root[i] = second;
    exp_avg[i] = !kMasked || g != 0.0f ? first[i] : exp_avg[i];
    exp_avg_sq[i] = !kMasked || g != 0.0f ? second : exp_avg_sq[i];
  }
  square_roots(root);
  for (int i = 0; i < count; ++i) {
    const float denominator = (kMasked ? root[i] : root[i] / step.root_correction) + step.eps;  // masked: divides by 1
    const float move = step.step_size * first[i] / denominator;
    const float moved = param[i] - (kRates ? move * rates[i] : move);
    param[i] = !kMasked || grad[i] != 0.0f ? moved : param[i];
  }
}

}  // namespace nerf_ssim::NERF_SSIM_ISA
