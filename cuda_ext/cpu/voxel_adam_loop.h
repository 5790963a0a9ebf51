// A run of voxels: its total variation and its update; with the same rounding as adam_loop.h, which does the
// update.
#pragma once

#include "adam_loop.h"

namespace nerf_ssim::NERF_SSIM_ISA {

static_assert(kRun == kVoxelRun);

NERF_SSIM_INLINE float pull(float here, float neighbour) {
  const float difference = here - neighbour;
  const float at_least = difference < -1.0f ? -1.0f : difference;  // a NaN stays one
  return at_least > 1.0f ? 1.0f : at_least;
}

template <bool kOnlyTouched>
NERF_SSIM_INLINE void add_tv_to(const VoxelTv& tv, const TvRun& run, int64_t channels, int count, const float* grad,
                                float* __restrict total) {
  const float wx = tv.weights[0], wy = tv.weights[1], wz = tv.weights[2];
  for (int i = 0; i < count; ++i) {
    const float p = run.here[i];
    const float x = pull(p, run.behind[i]) + pull(p, run.ahead[i]);
    const float y = pull(p, run.above[i]) + pull(p, run.below[i]);
    const float z = pull(p, run.here[i - channels]) + pull(p, run.here[i + channels]);
    const float g = grad[i];
    total[i] = !kOnlyTouched || g != 0.0f ? g + (wx * x + wy * y + wz * z) : g;
  }
}

static void add_tv(const VoxelTv& tv, const TvRun& run, int64_t channels, int count, bool only_touched,
                   const float* grad, float* total) {
  float sums[kRun];  // `total` may be `grad`
  if (only_touched)
    add_tv_to<true>(tv, run, channels, count, grad, sums);
  else
    add_tv_to<false>(tv, run, channels, count, grad, sums);
  std::memcpy(total, sums, count * sizeof(float));
}

static bool has_gradient(const float* grad, int count) {
  int touched = 0;
  for (int i = 0; i < count; ++i) touched |= grad[i] != 0.0f;
  return touched != 0;
}

static void update_elements(const AdamStep& shared_step, bool skip_zero, const VoxelState& state, int64_t first,
                            int count, const float* total) {
  const AdamStep step = shared_step;  // a copy that the stores below cannot change
  float* param = state.param + first;
  float* exp_avg = state.exp_avg + first;
  float* exp_avg_sq = state.exp_avg_sq + first;
  const float* rates = state.rates ? state.rates + first : nullptr;
  if (skip_zero && rates)
    update_run<true, true>(step, count, param, total, exp_avg, exp_avg_sq, rates);
  else if (skip_zero && count == kRun)
    update_run<true>(step, kRun, param, total, exp_avg, exp_avg_sq);
  else if (skip_zero)
    update_run<true>(step, count, param, total, exp_avg, exp_avg_sq);
  else if (rates)
    update_run<false, true>(step, count, param, total, exp_avg, exp_avg_sq, rates);
  else
    update_run<false>(step, count, param, total, exp_avg, exp_avg_sq);
}

}  // namespace nerf_ssim::NERF_SSIM_ISA
