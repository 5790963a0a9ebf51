// Whole-plane operations on channel-last planes [n_v, n_u, channels]: total variation and resampling.
#pragma once

#include <cstdint>

#include "launcher.h"

namespace nerf_ssim {

struct Plane {
  const float* values;
  int64_t n_v, n_u, channels;
};

namespace cpu {

// 2 * (mean squared difference along v + the same along u); a side of length one adds nothing.
double plane_tv(const Plane&, int threads);

// Its gradient times `scale`, written to `gradient`.
void plane_tv_backward(const Plane&, float scale, float* gradient, int threads);

// Bilinear resampling, corners aligned, to [n_v, n_u, channels].
void resize_plane(const Plane&, int64_t n_v, int64_t n_u, float* out, int threads);

}  // namespace cpu

constexpr int kMostPlanes = 3;                 // that one launch takes: those of a grid
constexpr int64_t kPlaneTvPartialSums = 1024;  // of each plane

// Up to kMostPlanes planes, and up to two factors by which the sum of their total variations is multiplied in turn.
struct Planes {
  const float* values[kMostPlanes];
  int64_t n_v[kMostPlanes], n_u[kMostPlanes], channels[kMostPlanes];
  int64_t count;
  float first_factor, second_factor;
};

struct PlaneGradients {
  float* values[kMostPlanes];
};

extern "C" {

// out[0], added in a fixed order. `partial_sums` is scratch of kPlaneTvPartialSums floats a plane.
int launch_planes_tv(const Planes&, float* partial_sums, float* out, cudaStream_t);

// `scale` [] is device memory.
int launch_planes_tv_backward(const Planes&, const float* scale, const PlaneGradients&, cudaStream_t);

int launch_resize_plane(const Plane&, int64_t n_v, int64_t n_u, float* out, cudaStream_t);
}

}  // namespace nerf_ssim
