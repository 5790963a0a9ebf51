// S3IM fused with its gather. One thread owns rows of windows (forward) or of the stochastic image (backward).
//
// Channels stay interleaved as in the batch: filtering down the image does not care, so a gathered row is used as it is.
// A batch of 4096 rays is 48 KB, so gathering it ten times reads the cache, not memory.
#include "s3im.h"

#include <omp.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "clones.h"
#include "ssim_rows.h"

namespace nerf_ssim {
namespace {

constexpr int kQuantities = 4;  // x, y, x^2 + y^2, x y

// Copies the colours of `count` rays, interleaved, to out_x and out_y.
template <int C>
NERF_SSIM_PART void gather(const int64_t* rays, int64_t count, int64_t channels, const float* __restrict target,
                           const float* __restrict rendered, float* __restrict out_x, float* __restrict out_y) {
  const int64_t n = C > 0 ? C : channels;
  for (int64_t i = 0; i < count; ++i) {
    const float* x = target + rays[i] * n;
    const float* y = rendered + rays[i] * n;
    for (int64_t c = 0; c < n; ++c) out_x[i * n + c] = x[c], out_y[i * n + c] = y[c];
  }
}

// out[o][c] = sum_k weights[k] * in[o * stride + k][c]
template <int C>
NERF_SSIM_PART void filter_pixels(const float* __restrict in, const SsimGeometry& g, int64_t channels,
                                  float* __restrict out) {
  const int64_t n = C > 0 ? C : channels;
  for (int64_t o = 0; o < g.columns; ++o)
    for (int64_t c = 0; c < n; ++c) {
      float sum = 0;
      for (int k = 0; k < g.taps; ++k) sum += g.weights[k] * in[(o * g.stride + k) * n + c];
      out[o * n + c] = sum;
    }
}

template <int C>
NERF_SSIM_PART SsimSums forward_row(const S3imGeometry& s, const float* rendered, const float* target,
                                    const SsimPartials<float>& partials, int64_t row) {
  const SsimGeometry& g = s.windows;
  const int64_t channels = C > 0 ? C : s.channels;
  const int64_t padded = std::max((g.columns - 1) * g.stride + g.taps, g.before + g.width) * channels;
  const Scratch scratch(2 + 2 * kQuantities, padded);
  float* const x = scratch.row(0);
  float* const y = scratch.row(1);
  float* const sums = scratch.row(2);                  // [4] quantities, filtered down the image, zeros at its sides
  float* const means = scratch.row(2 + kQuantities);   // [4] quantities under each window
  const int64_t line = scratch.length();
  // 1. Gather the window's rows and filter down.
  for (int k = 0; k < g.taps; ++k) {
    const int64_t from = row * g.stride - g.before + k;
    if (from < 0 || from >= g.height) continue;
    gather<C>(s.orders + from * g.width, g.width, channels, target, rendered, x, y);
    const float w = g.weights[k];
    float* __restrict out = sums + g.before * channels;
#pragma omp simd
    for (int64_t i = 0; i < g.width * channels; ++i) {
      const float wx = w * x[i], wy = w * y[i];
      out[i] += wx;
      out[line + i] += wy;
      out[2 * line + i] += wx * x[i] + wy * y[i];
      out[3 * line + i] += wx * y[i];
    }
  }
  // 2. Filter along the row.
  for (int q = 0; q < kQuantities; ++q) filter_pixels<C>(sums + q * line, g, channels, means + q * line);
  // 3. The index, its parts and its partial derivatives.
  const int64_t n = g.columns * channels;
  const auto at = [&](float* pointer) { return pointer == nullptr ? nullptr : pointer + row * n; };
  return ssim_row(n, means, means + line, means + 2 * line, means + 3 * line, g.c1, g.c2,
                  {nullptr, at(partials.mean_y), at(partials.square), at(partials.product)});
}

NERF_SSIM_CLONES
SsimSums forward_row_any(const S3imGeometry& s, const float* rendered, const float* target,
                         const SsimPartials<float>& partials, int64_t row) {
  return s.channels == 3 ? forward_row<3>(s, rendered, target, partials, row)
                         : forward_row<0>(s, rendered, target, partials, row);
}

// Adds the gradient that image row `row` sends to its rays.
template <int C>
NERF_SSIM_PART void adjoint_row(const S3imGeometry& s, const float* __restrict rendered, const float* __restrict target,
                                const SsimPartials<const float>& partials, float scale, int64_t row,
                                float* __restrict gradient) {
  const SsimGeometry& g = s.windows;
  const int64_t channels = C > 0 ? C : s.channels;
  const float* const maps[3] = {partials.mean_y, partials.square, partials.product};
  const Scratch scratch(3, std::max((g.columns - 1) * g.stride + g.taps, g.before + g.width) * channels);
  const int64_t line = scratch.length(), reach = row + g.before;
  // 1. Spread the partials of every window that holds this row, along the row.
  bool has_window = false;
  for (int k = 0; k < g.taps; ++k) {
    const int64_t from = (reach - k) / g.stride;
    if (reach < k || (reach - k) % g.stride != 0 || from >= g.rows) continue;
    has_window = true;
    for (int q = 0; q < 3; ++q) {
      float* __restrict out = scratch.row(q);
      const float* __restrict map = maps[q] + from * g.columns * channels;
      for (int64_t o = 0; o < g.columns; ++o)
        for (int tap = 0; tap < g.taps; ++tap) {
          const float w = scale * g.weights[k] * g.weights[tap];
          for (int64_t c = 0; c < channels; ++c) out[(o * g.stride + tap) * channels + c] += w * map[o * channels + c];
        }
    }
  }
  if (!has_window) return;
  // 2. d(x^2 + y^2)/dy = 2 y, d(x y)/dy = x; each pixel adds to its ray.
  const float* mean = scratch.row(0) + g.before * channels;
  const int64_t* rays = s.orders + row * g.width;
  for (int64_t i = 0; i < g.width; ++i) {
    const int64_t ray = rays[i] * channels;
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t p = i * channels + c;
      gradient[ray + c] += mean[p] + 2 * rendered[ray + c] * mean[line + p] + target[ray + c] * mean[2 * line + p];
    }
  }
}

NERF_SSIM_CLONES
void adjoint_row_any(const S3imGeometry& s, const float* rendered, const float* target,
                     const SsimPartials<const float>& partials, float scale, int64_t row, float* gradient) {
  if (s.channels == 3)
    adjoint_row<3>(s, rendered, target, partials, scale, row, gradient);
  else
    adjoint_row<0>(s, rendered, target, partials, scale, row, gradient);
}

}  // namespace

SsimSums s3im_forward(const S3imGeometry& s, const float* rendered, const float* target,
                      const SsimPartials<float>& partials) {
  const int64_t rows = s.windows.rows;
  std::vector<SsimSums> sums(rows);
#pragma omp parallel for schedule(static) if (rows > 1)
  for (int64_t row = 0; row < rows; ++row) sums[row] = forward_row_any(s, rendered, target, partials, row);
  SsimSums total;
  for (const SsimSums& row : sums) total.add(row);
  return total;
}

void s3im_adjoint(const S3imGeometry& s, const float* rendered, const float* target,
                  const SsimPartials<const float>& partials, float scale, float* grad_rendered) {
  const int64_t size = s.rays * s.channels, height = s.windows.height;
  std::memset(grad_rendered, 0, size * sizeof(float));
  const int threads = static_cast<int>(std::min<int64_t>(omp_get_max_threads(), height));
  // Rays meet from every row: each thread adds to its own copy, and the copies are added in order.
  std::vector<float> copies(size * (threads - 1), 0.f);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    // The team can be smaller than asked for; shares are counted, not threads, so that the result stays the same.
#pragma omp for schedule(static, 1)
    for (int share = 0; share < threads; ++share) {
      float* const gradient = share == 0 ? grad_rendered : copies.data() + (share - 1) * size;
      for (int64_t row = height * share / threads; row < height * (share + 1) / threads; ++row)
        adjoint_row_any(s, rendered, target, partials, scale, row, gradient);
    }
  }
  for (int share = 1; share < threads; ++share) {
    const float* __restrict copy = copies.data() + (share - 1) * size;
#pragma omp simd
    for (int64_t i = 0; i < size; ++i) grad_rendered[i] += copy[i];
  }
}

}  // namespace nerf_ssim
