// Dense voxel grids [X, Y, Z, channels] sampled at packed points, and the gradient of that.
#pragma once

#include <cstdint>

namespace nerf_ssim {

struct VoxelShape {
  int64_t nodes[3];
  int64_t channels;
};

// out[s, :] = trilinear sample at coords[s] in [-1, 1]^3, corners aligned, zero outside.
void voxel_features(
    const VoxelShape& shape, const float* grid, const float* coords, int64_t samples, float* out, int threads);

// Floats of a line along z that the optimiser takes together, and how many such runs a line of `line` floats has.
constexpr int kVoxelRun = 64;
inline int64_t runs_of(int64_t line) { return (line + kVoxelRun - 1) / kVoxelRun; }

// Adds the gradient of the grid to `gradient` and, if `touched` [X, Y, runs of a line] is not null, sets it to 1 where
// something was added. The bits do not depend on the number of threads.
void add_voxel_features_gradient(
    const VoxelShape& shape, const float* coords, int64_t samples, const float* grad, float* gradient, uint8_t* touched,
    int threads);

}  // namespace nerf_ssim
