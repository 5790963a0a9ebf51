// The rays through pixels of several views, and the pixels' colours.
#pragma once

#include <cstdint>

#include "launcher.h"

namespace nerf_ssim {

// `pixels` [count] are places in images [views, height, width, 3], flat over the first three. c2w [views, 3, 4] and
// K [views, 3, 3] are the views' cameras.
struct PixelViews {
  const int64_t* pixels;
  int64_t count, views, height, width;
  const uint8_t* images;
  const float* c2w;
  const float* K;
};

// Three arrays [count, 3].
struct PixelRays {
  float* origins;
  float* directions;
  float* rgb;
};

namespace cpu {

// Every pixel must be one of the views'.
void pixel_rays(const PixelViews&, const PixelRays&, int threads);

}  // namespace cpu

// Of a pixel that no view has, all nine numbers are NaN.
extern "C" int launch_pixel_rays(const PixelViews&, const PixelRays&, cudaStream_t);

}  // namespace nerf_ssim
