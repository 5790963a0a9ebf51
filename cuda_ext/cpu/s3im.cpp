// S3IM fused with its gather, value and gradient in one pass: the loss is one number, so that its gradient can be made
// at once and scaled later. One thread owns rows of windows; a window reads its pixels' rays wherever they are.
//
// Rays are first packed to four channels each, so that a colour is one vector register: 128 KB for a batch of 4096,
// which stays in the second-level cache while it is read ten times. No pixel of the stochastic image is ever stored.
#include "../include/s3im.h"

#include <omp.h>

#include <algorithm>
#include <vector>

#include "x86_levels.h"

namespace nerf_ssim::cpu {
namespace {

typedef float Channels __attribute__((vector_size(sizeof(float) * kMostChannels)));

NERF_SSIM_PART Channels load(const float* values, int64_t channels) {
  if (channels == 3) return Channels{values[0], values[1], values[2], 0};
  Channels lanes = {};
  for (int64_t c = 0; c < channels; ++c) lanes[c] = values[c];
  return lanes;
}

// One ray's colours: x the target, y the rendered. Half a cache line, so that a pixel costs one miss.
struct Ray {
  Channels x, y;
};

// The result is the calling thread's until its next call: fresh memory at each call would cost as much as the
// arithmetic.
const Ray* pack(const S3imGeometry& s, const float* rendered, const float* target) {
  static thread_local std::vector<Ray> packed;
  packed.resize(s.rays);
  for (int64_t ray = 0; ray < s.rays; ++ray)
    packed[ray] = {load(target + ray * s.channels, s.channels), load(rendered + ray * s.channels, s.channels)};
  return packed.data();
}

// The taps of a window that lie inside the image, along one axis.
struct Inside {
  int64_t start;  // image row or column of tap 0, which may be outside
  int first, last;
};

NERF_SSIM_PART Inside inside(const SsimGeometry& g, int64_t window, int64_t size) {
  const int64_t start = window * g.stride - g.before;
  const int64_t last = std::min<int64_t>(g.taps, size - start);
  return {start, static_cast<int>(std::max<int64_t>(0, -start)), static_cast<int>(last)};
}

NERF_SSIM_PART bool has_every_tap(const SsimGeometry& g, const Inside& taps) {
  return taps.first == 0 && taps.last == g.taps;
}

// Moments of one row of windows, each [columns][channels] and four floats more.
struct Moments {
  float *mean_x, *mean_y, *variances, *covariance;
};

// Colours are taken less the window's middle one, so that a flat window's variance is not a difference of large
// squares. A window that reaches outside the image holds zeros and is not flat: its colours are taken as they are.
NERF_SSIM_CLONES
void window_moments(const S3imGeometry& s, const Ray* colours, int64_t row, const Moments& moments) {
  const SsimGeometry& g = s.windows;
  const Inside down = inside(g, row, g.height);
  for (int64_t column = 0; column < g.columns; ++column) {
    const Inside along = inside(g, column, g.width);
    Ray shift = {};
    if (has_every_tap(g, down) && has_every_tap(g, along))
      shift = colours[s.orders[(down.start + g.taps / 2) * g.width + along.start + g.taps / 2]];
    Channels mean_x = {}, mean_y = {}, square = {}, difference = {};
    for (int i = down.first; i < down.last; ++i) {
      const int64_t* rays = s.orders + (down.start + i) * g.width + along.start;
      for (int j = along.first; j < along.last; ++j) {
        const Channels u = colours[rays[j]].x - shift.x, v = colours[rays[j]].y - shift.y, d = u - v;
        const float w = g.weights[i] * g.weights[j];
        const Channels wu = w * u, wv = w * v;
        mean_x += wu;
        mean_y += wv;
        square += wu * u + wv * v;
        difference += w * d * d;
      }
    }
    // The covariance is half of var_x + var_y - var(x - y).
    const Channels d = mean_x - mean_y, variances = square - (mean_x * mean_x + mean_y * mean_y);
    const Channels covariance = 0.5f * (variances - (difference - d * d));
    mean_x += shift.x;
    mean_y += shift.y;
    // Channels beyond the batch's are overwritten by the next window.
    const int64_t at = column * s.channels;
    for (int c = 0; c < kMostChannels; ++c) {
      moments.mean_x[at + c] = mean_x[c];
      moments.mean_y[at + c] = mean_y[c];
      moments.variances[at + c] = variances[c];
      moments.covariance[at + c] = covariance[c];
    }
  }
}

// Adds the gradient that one row of windows sends to its rays: d(x^2 + y^2)/dy = 2 y and d(x y)/dy = x.
NERF_SSIM_CLONES
void spread_gradient(const S3imGeometry& s, const Ray* colours, const SsimPartials<float>& partials, float scale,
                     int64_t row, Channels* gradient) {
  const SsimGeometry& g = s.windows;
  const Inside down = inside(g, row, g.height);
  for (int64_t column = 0; column < g.columns; ++column) {
    const Inside along = inside(g, column, g.width);
    const int64_t at = column * s.channels;
    const Channels mean = scale * load(partials.mean_y + at, s.channels);
    const Channels square = 2 * scale * load(partials.square + at, s.channels);
    const Channels product = scale * load(partials.product + at, s.channels);
    for (int i = down.first; i < down.last; ++i) {
      const int64_t* rays = s.orders + (down.start + i) * g.width + along.start;
      for (int j = along.first; j < along.last; ++j) {
        const int64_t ray = rays[j];
        const float w = g.weights[i] * g.weights[j];
        gradient[ray] += w * (mean + square * colours[ray].y + product * colours[ray].x);
      }
    }
  }
}

}  // namespace

SsimSums s3im(const S3imGeometry& s, const float* rendered, const float* target, float* gradient) {
  const SsimGeometry& g = s.windows;
  const Ray* const colours = pack(s, rendered, target);
  const int64_t n = g.columns * s.channels, line = n + kMostChannels;
  const float scale = -1.f / static_cast<float>(g.rows * n);
  // A ray is in windows of every thread, so each share of the windows has its own gradient, added in order. Shares, not
  // threads, are counted: a team smaller than asked for gives the same bits.
  const int64_t shares = std::min<int64_t>(omp_get_max_threads(), g.rows);
  static thread_local std::vector<Channels> kept;
  if (gradient != nullptr) kept.assign(shares * s.rays, Channels{});
  Channels* const gradients = kept.data();
  std::vector<SsimSums> sums(g.rows);
#pragma omp parallel for schedule(static, 1) num_threads(static_cast<int>(shares)) if (shares > 1)
  for (int64_t share = 0; share < shares; ++share) {
    std::vector<float> buffer(7 * line);
    const auto at = [&](int index) { return buffer.data() + index * line; };
    const Moments moments = {at(0), at(1), at(2), at(3)};
    const SsimPartials<float> partials =
        gradient != nullptr ? SsimPartials<float>{nullptr, at(4), at(5), at(6)} : SsimPartials<float>{};
    for (int64_t row = g.rows * share / shares; row < g.rows * (share + 1) / shares; ++row) {
      window_moments(s, colours, row, moments);
      sums[row] = ssim_row(g, n, moments.mean_x, moments.mean_y, moments.variances, moments.covariance, partials);
      if (gradient != nullptr) spread_gradient(s, colours, partials, scale, row, gradients + share * s.rays);
    }
  }
  SsimSums total;
  for (const SsimSums& row : sums) total.add(row);
  if (gradient != nullptr)
    for (int64_t ray = 0; ray < s.rays; ++ray) {
      Channels sum = gradients[ray];
      for (int64_t share = 1; share < shares; ++share) sum += gradients[share * s.rays + ray];
      for (int64_t c = 0; c < s.channels; ++c) gradient[ray * s.channels + c] = sum[c];
    }
  return total;
}

}  // namespace nerf_ssim::cpu
