// Whole-plane operations on the GPU, on channel-last planes [n_v, n_u, channels]: total variation and resampling.
#pragma once

#include <cstdint>

#include "../simulator/gpu.h"

constexpr int64_t kPlaneTvPartialSums = 1024;

// out[0] = 2 * (mean squared difference along v + the same along u), added in a fixed order. `partial_sums` is scratch
// of kPlaneTvPartialSums floats.
extern "C" cudaError_t launch_plane_tv(
    const float* plane, int64_t n_v, int64_t n_u, int64_t channels, float* partial_sums, float* out,
    cudaStream_t stream);

// Its gradient times the upstream gradient scale[0].
extern "C" cudaError_t launch_plane_tv_backward(
    const float* plane, int64_t n_v, int64_t n_u, int64_t channels, const float* scale, float* gradient,
    cudaStream_t stream);

// Bilinear resampling, corners aligned, to [to_v, to_u, channels].
extern "C" cudaError_t launch_resize_plane(
    const float* plane, int64_t n_v, int64_t n_u, int64_t channels, int64_t to_v, int64_t to_u, float* out,
    cudaStream_t stream);
