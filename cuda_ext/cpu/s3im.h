// S3IM on raw pointers: SSIM of the image that a batch of rays makes in several orders, without making the image.
#pragma once

#include <cstdint>

#include "ssim.h"

namespace nerf_ssim {

// Pixel p of the image, in row p / width, shows ray orders[p]. `windows` describes one channel's plane of that image.
struct S3imGeometry {
  SsimGeometry windows;
  int64_t rays, channels;
  const int64_t* orders;  // [height * width], each in [0, rays)
};

// x is the target and y the rendered colours, both [rays][channels]. The partials that are wanted, [rows][columns][channels].
SsimSums s3im_forward(const S3imGeometry&, const float* rendered, const float* target, const SsimPartials<float>&);

// The gradient of scale * (sum of SSIM) with respect to the rendered colours, [rays][channels].
void s3im_adjoint(const S3imGeometry&, const float* rendered, const float* target, const SsimPartials<const float>&,
                  float scale, float* grad_rendered);

}  // namespace nerf_ssim
