// Ray marching through contracted space on the GPU, in two passes with launch_sample_offsets (marching.h) between them.
#pragma once

#include <cstdint>

#include "../simulator/gpu.h"

// counts [rays]: how many of the `places` on each ray are kept. `mask` [nodes_x, nodes_y, nodes_z] bytes, or null.
extern "C" cudaError_t launch_count_contracted(
    const float* origins, const float* directions, int64_t rays, const float* t, int64_t places, float outer_radius,
    float bg_len, float min_distance, const uint8_t* mask, int64_t nodes_x, int64_t nodes_y, int64_t nodes_z,
    int64_t* counts, cudaStream_t stream);

// The same rays again: coords [samples, 3], kept_t [samples] and ray_index [samples] from offsets[ray] on.
extern "C" cudaError_t launch_fill_contracted(
    const float* origins, const float* directions, int64_t rays, const float* t, int64_t places, float outer_radius,
    float bg_len, float min_distance, const uint8_t* mask, int64_t nodes_x, int64_t nodes_y, int64_t nodes_z,
    const int64_t* offsets, float* coords, float* kept_t, int64_t* ray_index, cudaStream_t stream);
