// Total variation of voxel grids as a gradient, and the update that follows it, on the GPU.
#pragma once

#include <cstdint>

#include "../simulator/gpu.h"

// Adds weight * clamp(difference, -1, 1) of each of the six neighbours in grid [nodes_x, nodes_y, nodes_z, channels] to
// `grad`; with `is_dense` false, where it is not zero.
extern "C" cudaError_t launch_add_voxel_tv(
    const float* grid, int64_t nodes_x, int64_t nodes_y, int64_t nodes_z, int64_t channels, float weight_x,
    float weight_y, float weight_z, bool is_dense, float* grad, cudaStream_t stream);

// Updates `count` elements and their moments in place and clears the gradient; with `skip_zero`, those whose gradient
// is zero keep all they have. `rates`, factors on the step, may be null. The factors are those of masked_adam_factors
// (include/adam_step.h).
extern "C" cudaError_t launch_voxel_adam(
    float* param, float* grad, float* exp_avg, float* exp_avg_sq, const float* rates, int64_t count, bool skip_zero,
    float beta1, float beta2, float first_weight, float second_weight, float eps, float step_size, cudaStream_t stream);
