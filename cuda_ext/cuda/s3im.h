// S3IM on a GPU: launchers. Pixel p of the stochastic image, in row p / width, shows ray orders[p]; the image is not
// stored. An order that names no ray makes the result NaN and is not followed. `taps` [size] is host memory.
#pragma once

#include <cstdint>

#include "../simulator/gpu.h"

extern "C" {

// Blocks of the forward pass: the room that block_sums [5, blocks] needs.
int64_t s3im_blocks(int64_t rows, int64_t columns, int64_t channels);

// `loss` [] = 1 - mean SSIM with x the target and y the rendered colours, both [rays, channels], and the means of SSIM,
// S1, S2, mu_x - mu_y and its size, `statistics` [5]. Where `gradient` [rays, channels] is not null, the gradient of
// the loss in the rendered colours is added to it by atomics. Where `derivatives` [3, rows, columns, channels] is not
// null, the derivatives by mu_y, the mean of x^2 + y^2 and that of x y are kept there for launch_s3im_collect.
cudaError_t launch_s3im(const float* rendered, const float* target, const int64_t* orders, int64_t rays,
                        int64_t channels, int64_t height, int64_t width, int64_t rows, int64_t columns,
                        const float* taps, int64_t size, int64_t stride, int64_t padding, float c1, float c2,
                        float* gradient, float* derivatives, float* block_sums, float* loss, float* statistics,
                        cudaStream_t stream);

// The same gradient without atomics, the same bits at every call. sorted_rays [height * width] ascend, and pixel
// positions[i] shows ray sorted_rays[i].
cudaError_t launch_s3im_collect(const float* rendered, const float* target, const int64_t* sorted_rays,
                                const int64_t* positions, int64_t rays, int64_t channels, int64_t height, int64_t width,
                                int64_t rows, int64_t columns, const float* taps, int64_t size, int64_t stride,
                                int64_t padding, const float* derivatives, float* gradient, cudaStream_t stream);
}
