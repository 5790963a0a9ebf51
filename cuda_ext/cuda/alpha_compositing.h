// Compositing of packed voxel densities with an early stop, and the distortion of packed weights, on the GPU.
#pragma once

#include <cstdint>

#include "../simulator/gpu.h"

// weights [samples] and background [rays]; see cuda_ext/cpu/alpha_compositing.h. Offsets that lead out of the arrays
// are cut to them.
extern "C" cudaError_t launch_composite_voxels(
    const float* density, const int64_t* ray_offsets, int64_t rays, int64_t samples, float shift, float interval,
    float threshold, float stop, float* weights, float* background, cudaStream_t stream);

// grad_density [samples]; upstream gradients may be null.
extern "C" cudaError_t launch_composite_voxels_backward(
    const float* density, const int64_t* ray_offsets, int64_t rays, int64_t samples, float shift, float interval,
    float threshold, float stop, const float* grad_weights, const float* grad_background, float* grad_density,
    cudaStream_t stream);

// How many floats of scratch the next needs.
extern "C" int64_t distortion_scratch(int64_t samples);

// loss (one float) and its gradient [samples] in the weights. Rays ascend; there is at least one sample. Both are
// divided by the last ray's number + 1. The order of all sums is fixed.
extern "C" cudaError_t launch_distortion(
    const float* weights, const float* s, const int64_t* ray_index, int64_t samples, float interval, float* scratch,
    float* loss, float* gradient, cudaStream_t stream);
