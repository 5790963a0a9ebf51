// Structural similarity of image planes.
#pragma once

#include <cstdint>

#include "launcher.h"

namespace nerf_ssim {

constexpr int kLargestWindow = 11;

// The index that is averaged: product * S1 * S2 + luminance * S1 + structure * S2. SSIM is {1, 0, 0}.
struct SsimMix {
  float product, luminance, structure;
};

// Image planes and the windows over them. Output row o covers image rows o * stride - before + [0, taps); zeros lie
// around.
struct SsimGeometry {
  int64_t planes, height, width;  // of the images, row-major
  int64_t rows, columns;          // of the maps
  int64_t taps;
  float weights[kLargestWindow];  // along one axis, sum 1
  int64_t stride, before;
  float c1, c2;
  SsimMix mix;
};

// Derivatives of the index at each window with respect to mu_x, mu_y, the window mean of x^2 + y^2 and that of x y. A
// null map is not wanted (forward) or zero (adjoint); square and product are there whenever one of the means is.
template <typename Float>
struct SsimPartials {
  Float *mean_x, *mean_y, *square, *product;
};

// A loss of the pixels' error and the index, under windows at stride 1:
// by_error * mean of |x - y|^power + by_index * (sum of the mix's weights - mean index), `power` 1 or 2.
struct SsimLoss {
  int64_t power;
  float by_error, by_index;
};

namespace cpu {

// Sums over all windows of SSIM, S1, S2, mu_x - mu_y and its size, and over all pixels of their error, if it is wanted.
struct SsimSums {
  double ssim = 0, luminance = 0, structure = 0, difference = 0, difference_abs = 0, error = 0;

  void add(const SsimSums& other) {
    ssim += other.ssim;
    luminance += other.luminance;
    structure += other.structure;
    difference += other.difference;
    difference_abs += other.difference_abs;
    error += other.error;
  }
};

// Moments of each window [4][planes][rows][columns]: mu_x, mu_y, var_x + var_y and the covariance.
void ssim_moments(const SsimGeometry&, const float* x, const float* y, float* moments);

// Sums of the index and its parts, and at stride 1 of |x - y|^error_power where that is not 0; writes the partials that
// are wanted.
SsimSums ssim_forward(const SsimGeometry&, const float* x, const float* y, const SsimPartials<float>&,
                      int64_t error_power = 0);

// scale * sum of |x - y|^power; nothing where the power is 0.
struct PixelError {
  int64_t power = 0;
  float scale = 0;
};

// The gradient of sum(scale * partials . moments) + error with respect to x and y (each null where not wanted).
void ssim_adjoint(const SsimGeometry&, const float* x, const float* y, const SsimPartials<const float>&, float scale,
                  float* grad_x, float* grad_y, const PixelError& error = {});

// A row of `n` windows: the sums of S1, S2 and mu_x - mu_y from their moments, and the partials that are wanted.
SsimSums ssim_row(const SsimGeometry&, int64_t n, const float* mean_x, const float* mean_y, const float* variances,
                  const float* covariance, const SsimPartials<float>& partials);

}  // namespace cpu

// Rows of the tiles in which a GPU takes the 11x11 window: `tile_rows` is one of the two. Of the tall ones three blocks
// must fit into a multiprocessor's shared memory, or the flat ones keep more of its threads busy.
constexpr int64_t kTallTile = 32, kFlatTile = 16;
constexpr int64_t kSharedMemoryForTallTiles = 3 * 38 * 1024;

extern "C" {

// Blocks of the forward pass: the room that block_sums [5, blocks] needs; [6, blocks] for a loss.
int64_t ssim_forward_blocks(const SsimGeometry&, int64_t tile_rows);

// The mean index `mean` [] and the means of SSIM, S1, S2, mu_x - mu_y and its size, `statistics` [5], beside the
// partials that are wanted.
int launch_ssim_forward(const SsimGeometry&, const float* x, const float* y, const SsimPartials<float>&,
                        float* block_sums, float* mean, float* statistics, int64_t tile_rows, cudaStream_t);

int launch_ssim_moments(const SsimGeometry&, const float* x, const float* y, float* moments, int64_t tile_rows,
                        cudaStream_t);

// The gradient of sum(*scale * factor * partials . moments); `scale` [] is device memory. A wanted gradient needs its
// map of the means.
int launch_ssim_adjoint(const SsimGeometry&, const float* x, const float* y, const SsimPartials<const float>&,
                        const float* scale, float factor, float* grad_x, float* grad_y, int64_t tile_rows,
                        cudaStream_t);

// The loss `value` [] beside the partials that are wanted, under windows that ssim_is_tiled.
int launch_ssim_loss(const SsimGeometry&, const float* x, const float* y, const SsimPartials<float>&, const SsimLoss&,
                     float* block_sums, float* value, int64_t tile_rows, cudaStream_t);

// The gradient of *scale times that loss; `scale` [] is device memory. A wanted gradient needs its map of the means.
int launch_ssim_loss_adjoint(const SsimGeometry&, const float* x, const float* y, const SsimPartials<const float>&,
                             const SsimLoss&, const float* scale, float* grad_x, float* grad_y, int64_t tile_rows,
                             cudaStream_t);

// Whether these windows are taken tile by tile, which a loss and launch_ssim_recompute need.
bool ssim_is_tiled(const SsimGeometry&);

// The gradient of *scale * factor * sum(index) without any saved map: the windows are computed again.
int launch_ssim_recompute(const SsimGeometry&, const float* x, const float* y, const float* scale, float factor,
                          float* grad_x, float* grad_y, cudaStream_t);
}

}  // namespace nerf_ssim
