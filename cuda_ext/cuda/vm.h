// The VM grid on the GPU: see cuda_ext/include/grid.h for the planes and lines, whose pointers come in the order of the
// orientations (xy with z, xz with y, yz with x).
#pragma once

#include <cstdint>

#include "../simulator/gpu.h"

// out[s] = sum over orientations and channels of plane * line; with `is_features`, out[s, :] = the products of all
// channels, orientations one after the other.
extern "C" cudaError_t launch_vm(
    const float* plane_xy, const float* plane_xz, const float* plane_yz, const float* line_z, const float* line_y,
    const float* line_x, int64_t nodes_x, int64_t nodes_y, int64_t nodes_z, int64_t channels_0, int64_t channels_1,
    int64_t channels_2, const float* coords, int64_t samples, bool is_features, float* out, cudaStream_t stream);

// Gradients of either, added with atomics to zeroed arrays; `grad` has the shape of `out` above.
extern "C" cudaError_t launch_vm_backward(
    const float* plane_xy, const float* plane_xz, const float* plane_yz, const float* line_z, const float* line_y,
    const float* line_x, int64_t nodes_x, int64_t nodes_y, int64_t nodes_z, int64_t channels_0, int64_t channels_1,
    int64_t channels_2, const float* coords, int64_t samples, bool is_features, const float* grad,
    float* grad_plane_xy, float* grad_plane_xz, float* grad_plane_yz, float* grad_line_z, float* grad_line_y,
    float* grad_line_x, cudaStream_t stream);
