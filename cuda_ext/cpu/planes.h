// Whole-plane operations on channel-last planes [n_v, n_u, channels]: total variation and resampling.
#pragma once

#include <cstdint>

namespace nerf_ssim {

struct Plane {
  const float* values;
  int64_t n_v, n_u, channels;
};

// 2 * (mean squared difference along v + the same along u); a side of length one adds nothing.
double plane_tv(const Plane& plane, int threads);

// Its gradient times `scale`, written to `gradient`.
void plane_tv_backward(const Plane& plane, float scale, float* gradient, int threads);

// Bilinear resampling, corners aligned, to [n_v, n_u, channels].
void resize_plane(const Plane& plane, int64_t n_v, int64_t n_u, float* out, int threads);

}  // namespace nerf_ssim
