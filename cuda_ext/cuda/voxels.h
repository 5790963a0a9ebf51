// Dense voxel grids [X, Y, Z, channels] on the GPU, sampled at coordinates [samples, 3] in [-1, 1], corners aligned,
// zero outside. An axis has fewer than 2^24 nodes.
#pragma once

#include <cstdint>

#include "../simulator/gpu.h"

// out [samples, channels].
extern "C" cudaError_t launch_voxel_features(
    const float* grid, int64_t nodes_x, int64_t nodes_y, int64_t nodes_z, int64_t channels, const float* coords,
    int64_t samples, float* out, cudaStream_t stream);

// Adds the gradient of the grid to `gradient`, with atomics.
extern "C" cudaError_t launch_add_voxel_gradient(
    int64_t nodes_x, int64_t nodes_y, int64_t nodes_z, int64_t channels, const float* coords, int64_t samples,
    const float* grad, float* gradient, cudaStream_t stream);

// cells[s] = the cell of sample s, of (nodes_x + 2) * (nodes_y + 2) * (nodes_z + 2): one more on either side, because a
// sample may lie before the first node of an axis and beyond its last.
extern "C" cudaError_t launch_voxel_cells(
    int64_t nodes_x, int64_t nodes_y, int64_t nodes_z, const float* coords, int64_t samples, int64_t* cells,
    cudaStream_t stream);

// The gradient in a fixed order, without atomics: `order` [samples] has the samples sorted by cell, those of a cell in
// their order, and `starts` [cells + 1] says where each cell's begin.
extern "C" cudaError_t launch_gather_voxel_gradient(
    int64_t nodes_x, int64_t nodes_y, int64_t nodes_z, int64_t channels, const float* coords, const float* grad,
    const int64_t* order, const int64_t* starts, float* gradient, cudaStream_t stream);
