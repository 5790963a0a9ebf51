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

// Adds the gradient of the grid to `gradient`. The bits do not depend on the number of threads.
void add_voxel_features_gradient(
    const VoxelShape& shape, const float* coords, int64_t samples, const float* grad, float* gradient, int threads);

}  // namespace nerf_ssim
