// Adam's update on the GPU.
#pragma once

#include <cstdint>

#include "../simulator/gpu.h"

// Updates `count` parameters and their two moments in place; with `is_masked`, those whose gradient is zero keep all
// they have. The factors are those of cuda_ext/include/adam_step.h.
extern "C" cudaError_t launch_adam_step(
    float* param, const float* grad, float* exp_avg, float* exp_avg_sq, int64_t count, bool is_masked, float beta1,
    float beta2, float first_weight, float second_weight, float root_correction, float eps, float step_size,
    cudaStream_t stream);
