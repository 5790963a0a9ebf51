// Adam's update of many tensors at once.
#pragma once

#include <cstdint>

#include "adam_step.h"
#include "launcher.h"

namespace nerf_ssim {

constexpr int kMostAdamTensors = 32;  // that one launch takes

// `tensors` of them, of `count` elements each, updated in place. Each has factors of its own, because rates and the
// number of steps may differ.
struct AdamTensors {
  float* param[kMostAdamTensors];
  float* grad[kMostAdamTensors];
  float* exp_avg[kMostAdamTensors];
  float* exp_avg_sq[kMostAdamTensors];
  int64_t count[kMostAdamTensors];
  float root_correction[kMostAdamTensors];
  float step_size[kMostAdamTensors];
  int64_t tensors;
};

// `shared` gives what no tensor has of its own. With `corrects_root` it is the published Adam, else DVGO's form, whose
// factors are those of masked_adam_factors and which leaves the gradient cleared.
extern "C" int launch_adam_steps(const AdamStep& shared, bool corrects_root, const AdamTensors&, cudaStream_t);

}  // namespace nerf_ssim
