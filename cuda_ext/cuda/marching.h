// Ray marching through a box with an occupancy volume, on the GPU: count, then offsets, then the packed samples.
#pragma once

#include <cstdint>

#include "../simulator/gpu.h"

// counts[r] = how many of the ray's `places` lie in the box and in an occupied cell. `aabb` and `bits_aabb` are the
// lower and the upper corner, `jitter` [rays] or null, `bits` one byte for each of cells_x * cells_y * cells_z cells of
// the occupancy volume (see ops/reference/marching.py) or null.
extern "C" cudaError_t launch_count_samples(
    const float* origins, const float* directions, int64_t rays, const float* aabb, float near, float far, float step,
    int64_t places, const float* jitter, const uint8_t* bits, int64_t cells_x, int64_t cells_y, int64_t cells_z,
    const float* bits_aabb, int64_t* counts, cudaStream_t stream);

// offsets[0] = 0, offsets[r + 1] = offsets[r] + counts[r].
extern "C" cudaError_t launch_sample_offsets(
    const int64_t* counts, int64_t rays, int64_t* offsets, cudaStream_t stream);

// The samples that were counted, ray after ray: box coordinates [samples, 3], distance, length and ray of each.
extern "C" cudaError_t launch_fill_samples(
    const float* origins, const float* directions, int64_t rays, const float* aabb, float near, float far, float step,
    int64_t places, const float* jitter, const uint8_t* bits, int64_t cells_x, int64_t cells_y, int64_t cells_z,
    const float* bits_aabb, const int64_t* offsets, float* coords, float* t, float* delta, int64_t* ray_index,
    cudaStream_t stream);
