// SSIM of image planes on a GPU: launchers. x, y are [planes, height, width], maps [planes, rows, columns]; map row o
// covers image rows o * stride - before + [0, size), and zeros lie around the image. `taps` [size] is host memory.
#pragma once

#include <cstdint>

#include "../simulator/gpu.h"

extern "C" {

// Blocks of the forward pass: the room that block_sums [5, blocks] needs.
int64_t ssim_forward_blocks(int64_t planes, int64_t rows, int64_t columns, int64_t size, int64_t stride);

// Mean SSIM `mean` [] and the means of SSIM, S1, S2, mu_x - mu_y and its size, `statistics` [5]. The derivatives of
// SSIM at each window with respect to mu_x, mu_y, the mean of x^2 + y^2 and that of x y are written where their maps
// are not null (the last two exactly if one of the first two).
cudaError_t launch_ssim_forward(const float* x, const float* y, int64_t planes, int64_t height, int64_t width,
                                int64_t rows, int64_t columns, const float* taps, int64_t size, int64_t stride,
                                int64_t before, float c1, float c2, float* by_mean_x, float* by_mean_y,
                                float* by_square, float* by_product, float* block_sums, float* mean, float* statistics,
                                cudaStream_t stream);

// Window means of x, y, x^2 + y^2 and x y: moments [4, planes, rows, columns].
cudaError_t launch_ssim_moments(const float* x, const float* y, int64_t planes, int64_t height, int64_t width,
                                int64_t rows, int64_t columns, const float* taps, int64_t size, int64_t stride,
                                int64_t before, float* moments, cudaStream_t stream);

// The gradient of sum(*scale * factor * partials . moments) with respect to x and y, each null where not wanted; a
// wanted gradient needs its by_mean map. `scale` [] is device memory.
cudaError_t launch_ssim_adjoint(const float* x, const float* y, int64_t planes, int64_t height, int64_t width,
                                int64_t rows, int64_t columns, const float* taps, int64_t size, int64_t stride,
                                int64_t before, const float* by_mean_x, const float* by_mean_y, const float* by_square,
                                const float* by_product, const float* scale, float factor, float* grad_x, float* grad_y,
                                cudaStream_t stream);

// Whether launch_ssim_recompute serves a window.
bool ssim_can_recompute(int64_t size, int64_t stride);

// The gradient of *scale * factor * sum(SSIM) without any saved map: the windows are computed again.
cudaError_t launch_ssim_recompute(const float* x, const float* y, int64_t planes, int64_t height, int64_t width,
                                  int64_t rows, int64_t columns, const float* taps, int64_t before, float c1, float c2,
                                  const float* scale, float factor, float* grad_x, float* grad_y, cudaStream_t stream);
}
