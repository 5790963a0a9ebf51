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

constexpr int64_t kPlaneTvPartialSums = 1024;

extern "C" {

// out[0], added in a fixed order. `partial_sums` is scratch of kPlaneTvPartialSums floats.
int launch_plane_tv(const Plane&, float* partial_sums, float* out, cudaStream_t);

// `scale` [] is device memory.
int launch_plane_tv_backward(const Plane&, const float* scale, float* gradient, cudaStream_t);

int launch_resize_plane(const Plane&, int64_t n_v, int64_t n_u, float* out, cudaStream_t);
}

}  // namespace nerf_ssim
