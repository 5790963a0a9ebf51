// Compositing of packed voxel densities with an early stop, and the distortion of packed weights.
#pragma once

#include <cstdint>

namespace nerf_ssim {

struct VoxelRays {
  const float* density;    // [samples]
  const int64_t* offsets;  // [rays + 1]
  int64_t rays;
  // opacity = 1 - (1 + exp(density + shift))^(-interval), none where it is not above the threshold; a ray ends with the
  // sample after which less than `stop` of the light is left.
  float shift, interval, threshold, stop;
};

// weights [samples], background [rays]: the light left at the end.
void composite_voxels(const VoxelRays& samples, float* weights, float* background, int threads);

// Gradient of the densities; upstream gradients may be null.
void composite_voxels_backward(
    const VoxelRays& samples, const float* grad_weights, const float* grad_background, float* grad_density,
    int threads);

// Sum over rays of the distortion of weights at places s; `gradient` becomes its gradient in the weights. Rays ascend.
double distortion(
    const float* weights, const float* s, const int64_t* ray_index, int64_t samples, float interval, float* gradient,
    int threads);

}  // namespace nerf_ssim
