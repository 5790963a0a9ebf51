// S3IM on raw pointers: SSIM of the image that a batch of rays makes in several orders, without making the image.
#pragma once

#include <cstdint>

#include "ssim.h"

namespace nerf_ssim {

constexpr int kMostChannels = 4;

// Pixel p of the image, in row p / width, shows ray orders[p]. `windows` describes one channel's plane of that image.
struct S3imGeometry {
  SsimGeometry windows;
  int64_t rays, channels;  // channels: 1 to kMostChannels
  const int64_t* orders;   // [height * width], each in [0, rays)
};

// Sums of the index and its parts, x being the target and y the rendered colours, both [rays][channels]. Where `gradient`
// [rays][channels] is wanted (not null), it becomes that of 1 - mean SSIM with respect to the rendered colours.
SsimSums s3im(const S3imGeometry&, const float* rendered, const float* target, float* gradient);

}  // namespace nerf_ssim
