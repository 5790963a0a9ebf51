// The CP grid on the GPU: three lines [nodes, channels] along x, y, z (cuda_ext/include/grid.h).
#pragma once

#include <cstdint>

#include "../simulator/gpu.h"

// out[s] = sum over channels of the product of the three lines; with `is_features`, out[s, :] = the products.
extern "C" cudaError_t launch_cp(
    const float* line_x, const float* line_y, const float* line_z, int64_t nodes_x, int64_t nodes_y, int64_t nodes_z,
    int64_t channels, const float* coords, int64_t samples, bool is_features, float* out, cudaStream_t stream);

// Gradients of either, added with atomics to zeroed arrays; `grad` has the shape of `out` above.
extern "C" cudaError_t launch_cp_backward(
    const float* line_x, const float* line_y, const float* line_z, int64_t nodes_x, int64_t nodes_y, int64_t nodes_z,
    int64_t channels, const float* coords, int64_t samples, bool is_features, const float* grad, float* grad_line_x,
    float* grad_line_y, float* grad_line_z, cudaStream_t stream);
