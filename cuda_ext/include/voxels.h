// Dense voxel grids [X, Y, Z, channels] sampled at packed points, and the gradient of that. Coordinates are [samples,
// 3] in [-1, 1], corners aligned, zero outside. An axis has fewer than 2^24 nodes.
#pragma once

#include <cstdint>

#include "launcher.h"

namespace nerf_ssim {

struct VoxelShape {
  int64_t nodes[3];
  int64_t channels;
};

// Floats of a line along z that the optimiser takes together, and how many such runs a line of `line` floats has.
constexpr int kVoxelRun = 64;
inline int64_t runs_of(int64_t line) { return (line + kVoxelRun - 1) / kVoxelRun; }

namespace cpu {

// out[s, :] = trilinear sample at coords[s].
void voxel_features(const VoxelShape&, const float* grid, const float* coords, int64_t samples, float* out,
                    int threads);

// Adds the gradient of the grid to `gradient` and, if `touched` [X, Y, runs of a line] is not null, sets it to 1 where
// something was added. The bits do not depend on the number of threads.
void add_voxel_features_gradient(const VoxelShape&, const float* coords, int64_t samples, const float* grad,
                                 float* gradient, uint8_t* touched, int threads);

}  // namespace cpu

extern "C" {

// out [samples, channels].
int launch_voxel_features(const VoxelShape&, const float* grid, const float* coords, int64_t samples, float* out,
                          cudaStream_t);

// Adds the gradient of the grid to `gradient`, with atomics, and notes where in `touched` as on the CPU.
int launch_add_voxel_gradient(const VoxelShape&, const float* coords, int64_t samples, const float* grad,
                              float* gradient, uint8_t* touched, cudaStream_t);

// cells[s] = the cell of sample s, of (X + 2) * (Y + 2) * (Z + 2): one more on either side, because a sample may lie
// before the first node of an axis and beyond its last.
int launch_voxel_cells(const VoxelShape&, const float* coords, int64_t samples, int64_t* cells, cudaStream_t);

// The gradient in a fixed order, without atomics: `order` [samples] has the samples sorted by cell, those of a cell in
// their order, and `starts` [cells + 1] says where each cell's begin. `touched` as above.
int launch_gather_voxel_gradient(const VoxelShape&, const float* coords, const float* grad, const int64_t* order,
                                 const int64_t* starts, float* gradient, uint8_t* touched, cudaStream_t);
}

}  // namespace nerf_ssim
