// Adam's update of one tensor.
#pragma once

#include <cstdint>

#include "adam_step.h"
#include "launcher.h"

namespace nerf_ssim {

// Arrays of `count` elements; the gradient is read, the others are updated in place.
struct AdamState {
  float* param;
  const float* grad;
  float* exp_avg;
  float* exp_avg_sq;
  int64_t count;
};

namespace cpu {

// `threads` share the elements.
void adam_step(const AdamStep&, const AdamState&, int threads);

}  // namespace cpu

extern "C" int launch_adam_step(const AdamStep&, const AdamState&, cudaStream_t);

}  // namespace nerf_ssim
