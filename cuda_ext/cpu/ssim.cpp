// SSIM with a separable window, streaming down bands of rows. Forward, an image row is filtered along x once, a ring keeps
// the last filtered rows, and each map row is their combination. Backward, the map rows that reach an image row are
// combined and the result is spread along x. Nothing of the size of an image is stored between the passes but the partial
// derivatives that the backward pass asks for.
//
// One thread owns a band of rows of one plane. Bands have a fixed height and their sums are added in order, so that the
// result depends neither on the number of threads nor on their timing.
#include "ssim.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "x86_levels.h"
#include "ssim_rows.h"

namespace nerf_ssim {
namespace {

constexpr int64_t kBand = 64;     // rows of a band: ten rows shared by two bands are filtered twice
constexpr int kQuantities = 4;    // x, y, x^2 + y^2, x y: var_x + var_y is all that SSIM needs of the variances

struct Band {
  int64_t plane, begin, end;
};

Band band_at(int64_t index, int64_t rows, int64_t bands_of_plane) {
  const int64_t begin = index % bands_of_plane * kBand;
  return {index / bands_of_plane, begin, std::min(begin + kBand, rows)};
}

// Where the means of one map row go: either the moments themselves, or SSIM's sums and partials.
struct ForwardTarget {
  float* moments;  // [4][planes][rows][columns], or null
  SsimPartials<float> partials;
};

// SSIM's sums over one row, and the partial derivatives asked for:
// dSSIM/dmu = 2 S2/B1 (mu_other - S1 mu) + 2 S1/B2 (S2 mu - mu_other), the moments of second order held.
template <bool kSecond, bool kMeanX, bool kMeanY>
NERF_SSIM_PART SsimSums sums_and_partials_of_row(
    int64_t n, const float* __restrict mean_x, const float* __restrict mean_y, const float* __restrict square,
    const float* __restrict product, float c1, float c2, const SsimPartials<float>& partials) {
  float* __restrict by_square = partials.square;
  float* __restrict by_product = partials.product;
  float* __restrict by_mean_x = partials.mean_x;
  float* __restrict by_mean_y = partials.mean_y;
  float ssim = 0, luminance = 0, structure = 0, difference = 0, difference_abs = 0;
#pragma omp simd reduction(+ : ssim, luminance, structure, difference, difference_abs)
  for (int64_t i = 0; i < n; ++i) {
    const float mx = mean_x[i], my = mean_y[i], mxy = mx * my, mm = mx * mx + my * my;
    const float b1 = mm + c1, b2 = square[i] - mm + c2;
    const float s1 = (2 * mxy + c1) / b1, s2 = (2 * (product[i] - mxy) + c2) / b2;
    ssim += s1 * s2;
    luminance += s1;
    structure += s2;
    difference += mx - my;
    difference_abs += std::fabs(mx - my);
    const float by_luminance = s2 / b1, by_structure = s1 / b2;
    if (kSecond) by_square[i] = -s2 * by_structure;
    if (kSecond) by_product[i] = 2 * by_structure;
    if (kMeanX) by_mean_x[i] = 2 * (by_luminance * (my - s1 * mx) + by_structure * (s2 * mx - my));
    if (kMeanY) by_mean_y[i] = 2 * (by_luminance * (mx - s1 * my) + by_structure * (s2 * my - mx));
  }
  return {ssim, luminance, structure, difference, difference_abs};
}

NERF_SSIM_PART SsimSums similarity_of_row(int64_t n, const float* mean_x, const float* mean_y, const float* square,
                                          const float* product, float c1, float c2,
                                          const SsimPartials<float>& partials) {
  const auto run = [&](auto second, auto x, auto y) __attribute__((always_inline)) {
    return sums_and_partials_of_row<second(), x(), y()>(n, mean_x, mean_y, square, product, c1, c2, partials);
  };
  constexpr std::true_type yes;
  constexpr std::false_type no;
  if (partials.square == nullptr) return run(no, no, no);
  if (partials.mean_x == nullptr) return run(yes, no, yes);
  return partials.mean_y == nullptr ? run(yes, yes, no) : run(yes, yes, yes);
}

NERF_SSIM_CLONES
SsimSums forward_band(const SsimGeometry& g, const float* x, const float* y, Band band, const ForwardTarget& target) {
  const int taps = g.taps;
  const int64_t padded = (g.columns - 1) * g.stride + taps;     // columns that windows reach
  const int64_t inside = std::min(g.width, padded - g.before);    // those of them in the image
  const int64_t length = std::max(padded, g.before + g.width);
  const Scratch scratch(kQuantities * (taps + 1 + 1) + 1, length);
  float* const products = scratch.zeros(0, kQuantities);    // one image row's quantities, zeros around
  float* const ring = scratch.row(kQuantities);             // [taps][4] filtered rows
  float* const means = scratch.row(kQuantities * (taps + 1));  // one map row's moments
  const float* const zeros = scratch.zeros(kQuantities * (taps + 2), 1);
  const int64_t line = scratch.length(), map = g.rows * g.columns;
  const float* const plane_x = x + band.plane * g.height * g.width;
  const float* const plane_y = y + band.plane * g.height * g.width;

  SsimSums sums;
  int64_t next = 0;  // first image row that has not been filtered
  for (int64_t row = band.begin; row < band.end; ++row) {
    const int64_t top = row * g.stride - g.before;
    // 1. Filter the image rows that this map row is the first to need.
    for (next = std::max({next, top, int64_t{0}}); next < std::min(top + taps, g.height); ++next) {
      const float* __restrict u = plane_x + next * g.width;
      const float* __restrict v = plane_y + next * g.width;
      float* __restrict p = products + g.before;
#pragma omp simd
      for (int64_t i = 0; i < inside; ++i) {
        p[i] = u[i];
        p[line + i] = v[i];
        p[2 * line + i] = u[i] * u[i] + v[i] * v[i];
        p[3 * line + i] = u[i] * v[i];
      }
      for (int q = 0; q < kQuantities; ++q)
        filter_along(products + q * line, g.weights, taps, g.stride, g.columns,
                     ring + (next % taps * kQuantities + q) * line);
    }
    // 2. Combine the ring's rows; those outside the image are zero.
    for (int q = 0; q < kQuantities; ++q) {
      const float* rows[kLargestWindow];
      for (int k = 0; k < taps; ++k) {
        const int64_t from = top + k;
        rows[k] = from < 0 || from >= g.height ? zeros : ring + (from % taps * kQuantities + q) * line;
      }
      filter_across(rows, g.weights, taps, g.columns, means + q * line);
    }
    // 3. Keep the moments, or SSIM's sums and partial derivatives.
    const int64_t offset = band.plane * map + row * g.columns;
    if (target.moments != nullptr) {
      for (int q = 0; q < kQuantities; ++q)
        std::memcpy(target.moments + q * g.planes * map + offset, means + q * line, g.columns * sizeof(float));
    } else {
      const auto at = [offset](float* pointer) { return pointer == nullptr ? nullptr : pointer + offset; };
      const SsimPartials<float>& p = target.partials;
      sums.add(similarity_of_row(g.columns, means, means + line, means + 2 * line, means + 3 * line, g.c1, g.c2,
                                 {at(p.mean_x), at(p.mean_y), at(p.square), at(p.product)}));
    }
  }
  return sums;
}

SsimSums forward(const SsimGeometry& g, const float* x, const float* y, const ForwardTarget& target) {
  const int64_t bands_of_plane = (g.rows + kBand - 1) / kBand, bands = g.planes * bands_of_plane;
  std::vector<SsimSums> sums(bands);
#pragma omp parallel for schedule(static) if (bands > 1)
  for (int64_t index = 0; index < bands; ++index)
    sums[index] = forward_band(g, x, y, band_at(index, g.rows, bands_of_plane), target);
  SsimSums total;
  for (const SsimSums& band : sums) total.add(band);
  return total;
}

// Spreads a row of sums over windows back along x: out[i] = sum over windows o and taps k with o * stride - before + k = i.
// `row` has room for a window's reach before and after it, where there are zeros.
NERF_SSIM_PART void spread_along(const SsimGeometry& g, const float* row, const float* mirrored, float* spread,
                                 float* out, int64_t length) {
  const int taps = g.taps;
  if (g.stride == 1) {
    filter_along(row - (taps - 1) + g.before, mirrored, taps, 1, g.width, out);
    return;
  }
  std::memset(spread, 0, length * sizeof(float));
  for (int64_t o = 0; o < g.columns; ++o)
    for (int k = 0; k < taps; ++k) spread[o * g.stride + k] += g.weights[k] * row[o];
  std::memcpy(out, spread + g.before, g.width * sizeof(float));
}

// own and other are y and x for the gradient with respect to y; mean_other and grad_other are null unless both are wanted.
struct AdjointJob {
  const float *own, *other, *mean_own, *mean_other, *square, *product;
  float scale;
  float *grad_own, *grad_other;
};

NERF_SSIM_CLONES
void adjoint_band(const SsimGeometry& g, const AdjointJob& job, Band band) {
  const int taps = g.taps;
  const float* const maps[kQuantities] = {job.square, job.product, job.mean_own, job.mean_other};
  const int quantities = job.mean_other == nullptr ? 3 : 4;
  const int64_t length = std::max(g.columns * g.stride, g.width + g.before) + 2 * kLargestWindow;
  const Scratch scratch(2 + kQuantities, length);
  float* const across = scratch.zeros(0, 1) + kLargestWindow;  // one map row's combination, zeros around
  float* const spread = scratch.row(1);
  float* const sums = scratch.row(2);                          // one image row's
  const int64_t line = scratch.length(), map = band.plane * g.rows * g.columns;
  float mirrored[kLargestWindow], weights[kLargestWindow];
  for (int k = 0; k < taps; ++k) mirrored[k] = g.weights[taps - 1 - k];

  for (int64_t row = band.begin; row < band.end; ++row) {
    // 1. The map rows whose windows hold this image row, o * stride - before + k = row for a tap k, and their weights.
    const int64_t reach = row + g.before;
    const int64_t last = std::min(reach / g.stride, g.rows - 1);
    const int64_t first = reach < taps ? 0 : (reach - taps) / g.stride + 1;
    const int windows = static_cast<int>(std::max<int64_t>(last - first + 1, 0));
    for (int64_t o = first; o <= last; ++o) weights[o - first] = g.weights[reach - o * g.stride] * job.scale;
    // 2. Combine them, and spread the result along x.
    for (int q = 0; q < quantities; ++q) {
      const float* rows[kLargestWindow];
      for (int k = 0; k < windows; ++k) rows[k] = maps[q] + map + (first + k) * g.columns;
      filter_across(rows, weights, windows, g.columns, across);
      spread_along(g, across, mirrored, spread, sums + q * line, length);
    }
    // 3. d(x^2 + y^2)/dy = 2 y, d(x y)/dy = x.
    const int64_t offset = (band.plane * g.height + row) * g.width;
    const float* __restrict own = job.own + offset;
    const float* __restrict other = job.other + offset;
    float* __restrict out = job.grad_own + offset;
#pragma omp simd
    for (int64_t i = 0; i < g.width; ++i)
      out[i] = sums[2 * line + i] + 2 * own[i] * sums[i] + other[i] * sums[line + i];
    if (quantities == 4) {
      float* __restrict out_other = job.grad_other + offset;
#pragma omp simd
      for (int64_t i = 0; i < g.width; ++i)
        out_other[i] = sums[3 * line + i] + 2 * other[i] * sums[i] + own[i] * sums[line + i];
    }
  }
}

}  // namespace

NERF_SSIM_CLONES
SsimSums ssim_row(int64_t n, const float* mean_x, const float* mean_y, const float* square, const float* product, float c1,
                  float c2, const SsimPartials<float>& partials) {
  return similarity_of_row(n, mean_x, mean_y, square, product, c1, c2, partials);
}

void ssim_moments(const SsimGeometry& g, const float* x, const float* y, float* moments) {
  forward(g, x, y, {moments, {}});
}

SsimSums ssim_forward(const SsimGeometry& g, const float* x, const float* y, const SsimPartials<float>& partials) {
  return forward(g, x, y, {nullptr, partials});
}

void ssim_adjoint(const SsimGeometry& g, const float* x, const float* y, const SsimPartials<const float>& p, float scale,
                  float* grad_x, float* grad_y) {
  AdjointJob job{y, x, p.mean_y, p.mean_x, p.square, p.product, scale, grad_y, grad_x};
  if (grad_y == nullptr) job = {x, y, p.mean_x, nullptr, p.square, p.product, scale, grad_x, nullptr};
  if (grad_x == nullptr) job.mean_other = nullptr;
  const int64_t bands_of_plane = (g.height + kBand - 1) / kBand, bands = g.planes * bands_of_plane;
#pragma omp parallel for schedule(static) if (bands > 1)
  for (int64_t index = 0; index < bands; ++index) adjoint_band(g, job, band_at(index, g.height, bands_of_plane));
}

}  // namespace nerf_ssim
