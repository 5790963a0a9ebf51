// S3IM: SSIM of the image that a batch of rays makes in several orders, without making the image.
#pragma once

#include <cstdint>

#include "launcher.h"
#include "ssim.h"

namespace nerf_ssim {

constexpr int kMostChannels = 4;

// Pixel p of the image, in row p / width, shows ray orders[p]. `windows` describes one channel's plane of that image.
struct S3imGeometry {
  SsimGeometry windows;
  int64_t rays, channels;  // channels: 1 to kMostChannels
  const int64_t* orders;   // [height * width], each in [0, rays)
};

namespace cpu {

// Sums of the index and its parts, x being the target and y the rendered colours, both [rays][channels]. Where
// `gradient` [rays][channels] is wanted (not null), it becomes that of the loss, the mix's total less the mean index,
// with respect to the rendered colours.
SsimSums s3im(const S3imGeometry&, const float* rendered, const float* target, float* gradient);

}  // namespace cpu

extern "C" {

// Blocks of the forward pass: the room that block_sums [5, blocks] needs.
int64_t s3im_blocks(const S3imGeometry&);

// `loss` [] = the mix's total less the mean index (1 - mean SSIM for {1, 0, 0}), and the means of SSIM, S1, S2,
// mu_x - mu_y and its size, `statistics` [5]. An order that names no ray makes the result NaN and is not followed.
// Where `gradient` [rays, channels] is not null, the gradient of the loss in the rendered colours is added to it by
// atomics. Where `derivatives` [3, rows, columns, channels] is not null, the derivatives by mu_y, the mean of x^2 + y^2
// and that of x y are kept there for launch_s3im_collect.
int launch_s3im(const S3imGeometry&, const float* rendered, const float* target, float* gradient, float* derivatives,
                float* block_sums, float* loss, float* statistics, cudaStream_t);

// The same gradient without atomics, the same bits at every call. sorted_rays [height * width] ascend, and pixel
// positions[i] shows ray sorted_rays[i].
int launch_s3im_collect(const S3imGeometry&, const float* rendered, const float* target, const int64_t* sorted_rays,
                        const int64_t* positions, const float* derivatives, float* gradient, cudaStream_t);
}

}  // namespace nerf_ssim
