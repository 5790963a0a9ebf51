// Compositing of packed voxel densities with an early stop, and the distortion of packed weights.
#pragma once

#include <cstdint>

#include "launcher.h"

namespace nerf_ssim {

// Samples of ray r are [offsets[r], offsets[r + 1]).
struct VoxelRays {
  const float* density;    // [samples]
  const int64_t* offsets;  // [rays + 1]
  int64_t rays, samples;
  // opacity = 1 - (1 + exp(density + shift))^(-interval), none where it is not above the threshold; a ray ends with the
  // sample after which less than `stop` of the light is left.
  float shift, interval, threshold, stop;
};

// Weights of samples at places s along their rays; ray_index ascends.
struct PackedWeights {
  const float* weights;
  const float* s;
  const int64_t* ray_index;
  int64_t samples;
  float interval;
};

namespace cpu {

// weights [samples], background [rays]: the light left at the end.
void composite_voxels(const VoxelRays&, float* weights, float* background, int threads);

// Gradient of the densities; upstream gradients may be null.
void composite_voxels_backward(const VoxelRays&, const float* grad_weights, const float* grad_background,
                               float* grad_density, int threads);

// Sum over rays of the distortion; `gradient` becomes its gradient in the weights.
double distortion(const PackedWeights&, float* gradient, int threads);

}  // namespace cpu

extern "C" {

// As on the CPU; offsets that lead out of the arrays are cut to them.
int launch_composite_voxels(const VoxelRays&, float* weights, float* background, cudaStream_t);
int launch_composite_voxels_backward(const VoxelRays&, const float* grad_weights, const float* grad_background,
                                     float* grad_density, cudaStream_t);

// How many floats of scratch the next needs.
int64_t distortion_scratch(int64_t samples);

// loss (one float) and its gradient [samples] in the weights, both divided by the last ray's number + 1. There is at
// least one sample. The order of all sums is fixed.
int launch_distortion(const PackedWeights&, float* scratch, float* loss, float* gradient, cudaStream_t);
}

}  // namespace nerf_ssim
