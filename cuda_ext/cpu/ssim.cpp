// SSIM with a separable window, streaming down bands of rows, some neighbouring rows at a time. Forward, an image row
// is filtered along x once, a ring keeps the last filtered rows, and each map row is a combination of them. Values are
// filtered less a shift near them, so that the variance of a flat picture is no difference of large squares. Backward,
// the map rows that reach an image row are combined and the result is spread along x. Nothing of the size of an image
// is stored between the passes but the partial derivatives that the backward pass asks for.
//
// One thread owns a band of rows of one plane. Bands have a fixed height and their sums are added in order, so that the
// result depends neither on the number of threads nor on their timing.
#include "../include/ssim.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "x86_levels.h"
#include "ssim_rows.h"

namespace nerf_ssim::cpu {
namespace {

constexpr int64_t kBand = 64;   // rows of a band: ten rows shared by two bands are filtered twice
constexpr int kQuantities = 4;  // x, y, x^2 + y^2, (x - y)^2: var_x + var_y is all that SSIM needs of the variances

struct Band {
  int64_t plane, begin, end;
};

Band band_at(int64_t index, int64_t rows, int64_t bands_of_plane) {
  const int64_t begin = index % bands_of_plane * kBand;
  return {index / bands_of_plane, begin, std::min(begin + kBand, rows)};
}

// What is taken from the values of a band before they are multiplied: any constants give the same moments, and those
// near the values lose the fewest digits.
struct Shift {
  float x, y;
};

// The means of a row of both images, 0 where one is not finite.
NERF_SSIM_PART Shift means_of_rows(const float* row_x, const float* row_y, int64_t n) {
  float x = 0, y = 0;
#pragma omp simd reduction(+ : x, y)
  for (int64_t i = 0; i < n; ++i) {
    x += row_x[i];
    y += row_y[i];
  }
  if (!std::isfinite(x) || !std::isfinite(y)) return {0, 0};
  return {x / static_cast<float>(n), y / static_cast<float>(n)};
}

// Where the moments of one map row go: either the moments themselves, or SSIM's sums and partials.
struct ForwardTarget {
  float* moments;  // [4][planes][rows][columns], or null
  SsimPartials<float> partials;
  int64_t error_power = 0;  // of the pixels' errors, which the sums have too where it is not 0
};

// The sum of |x - y|^power over `n` pixels, power 1 or 2.
NERF_SSIM_PART float error_of_row(const float* __restrict x, const float* __restrict y, int64_t n, int64_t power) {
  float sum = 0;
  if (power == 1) {
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; ++i) sum += std::fabs(x[i] - y[i]);
  } else {
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; ++i) sum += (x[i] - y[i]) * (x[i] - y[i]);
  }
  return sum;
}

// SSIM's sums over one row, and the partial derivatives of the index f(S1, S2) that are asked for:
// df/dmu = 2 f_1/B1 (mu_other - S1 mu) + 2 f_2/B2 (S2 mu - mu_other), the means of x^2 + y^2 and of x y held.
template <bool kSecond, bool kMeanX, bool kMeanY>
NERF_SSIM_PART SsimSums sums_and_partials_of_row(const SsimGeometry& g, int64_t n, const float* __restrict mean_x,
                                                 const float* __restrict mean_y, const float* __restrict variances,
                                                 const float* __restrict covariance,
                                                 const SsimPartials<float>& partials) {
  const float c1 = g.c1, c2 = g.c2;
  const SsimMix mix = g.mix;
  float* __restrict by_square = partials.square;
  float* __restrict by_product = partials.product;
  float* __restrict by_mean_x = partials.mean_x;
  float* __restrict by_mean_y = partials.mean_y;
  float ssim = 0, luminance = 0, structure = 0, difference = 0, difference_abs = 0;
#pragma omp simd reduction(+ : ssim, luminance, structure, difference, difference_abs)
  for (int64_t i = 0; i < n; ++i) {
    const float mx = mean_x[i], my = mean_y[i], mxy = mx * my, mm = mx * mx + my * my;
    const float by_b1 = 1 / (mm + c1), by_b2 = 1 / (variances[i] + c2);
    const float s1 = (2 * mxy + c1) * by_b1, s2 = (2 * covariance[i] + c2) * by_b2;
    ssim += s1 * s2;
    luminance += s1;
    structure += s2;
    difference += mx - my;
    difference_abs += std::fabs(mx - my);
    const float by_luminance = (mix.product * s2 + mix.luminance) * by_b1;
    const float by_structure = (mix.product * s1 + mix.structure) * by_b2;
    if (kSecond) by_square[i] = -s2 * by_structure;
    if (kSecond) by_product[i] = 2 * by_structure;
    if (kMeanX) by_mean_x[i] = 2 * (by_luminance * (my - s1 * mx) + by_structure * (s2 * mx - my));
    if (kMeanY) by_mean_y[i] = 2 * (by_luminance * (mx - s1 * my) + by_structure * (s2 * my - mx));
  }
  return {ssim, luminance, structure, difference, difference_abs};
}

NERF_SSIM_PART SsimSums similarity_of_row(const SsimGeometry& g, int64_t n, const float* mean_x, const float* mean_y,
                                          const float* variances, const float* covariance,
                                          const SsimPartials<float>& partials) {
  const auto run = [&](auto second, auto x, auto y) __attribute__((always_inline)) {
    return sums_and_partials_of_row<second(), x(), y()>(g, n, mean_x, mean_y, variances, covariance, partials);
  };
  constexpr std::true_type yes;
  constexpr std::false_type no;
  if (partials.square == nullptr) return run(no, no, no);
  if (partials.mean_x == nullptr) return run(yes, no, yes);
  return partials.mean_y == nullptr ? run(yes, yes, no) : run(yes, yes, yes);
}

// The quantities of `n` pixels of an image row less the shift, each `line` after the one before.
NERF_SSIM_PART void quantities_of_row(const float* __restrict x, const float* __restrict y, Shift shift, int64_t n,
                                      int64_t line, float* __restrict out) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float u = x[i] - shift.x, v = y[i] - shift.y;
    out[i] = u;
    out[line + i] = v;
    out[2 * line + i] = u * u + v * v;
    out[3 * line + i] = (u - v) * (u - v);
  }
}

// Rows of the quantities of zeros outside the image, `length` values each, `line` after the one before.
NERF_SSIM_PART void fill_outside(Shift shift, int64_t length, int64_t line, float* rows) {
  const float zero = 0;
  float of_pixel[kQuantities];
  quantities_of_row(&zero, &zero, shift, 1, 1, of_pixel);
  for (int q = 0; q < kQuantities; ++q) std::fill_n(rows + q * line, length, of_pixel[q]);
}

// A row of window means of the quantities becomes the moments mu_x, mu_y, var_x + var_y and the covariance, which is
// half of var_x + var_y - var(x - y): S2 exceeds 1 by no more than the rounding of var(x - y).
NERF_SSIM_PART void moments_of_row(Shift shift, int64_t n, int64_t line, float* __restrict row) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float u = row[i], v = row[line + i], d = u - v;
    const float variances = row[2 * line + i] - (u * u + v * v);
    row[i] = u + shift.x;
    row[line + i] = v + shift.y;
    row[2 * line + i] = variances;
    row[3 * line + i] = 0.5f * (variances - (row[3 * line + i] - d * d));
  }
}

// How many neighbouring map rows (of the adjoint: image rows) are made at once. The next one's rows are one further on
// without a stride only.
int rows_together(const SsimGeometry& g) { return g.stride == 1 ? kTogether : 1; }

NERF_SSIM_CLONES
SsimSums forward_band(const SsimGeometry& g, const float* x, const float* y, Band band, const ForwardTarget& target) {
  const int taps = static_cast<int>(g.taps), together = rows_together(g), ring_rows = taps + together - 1;
  const int64_t padded = (g.columns - 1) * g.stride + taps;     // columns that windows reach
  const int64_t inside = std::min(g.width, padded - g.before);  // those of them in the image
  const int64_t reach = kLine + std::max(padded - g.before, g.width);
  const Scratch scratch(kQuantities * (2 + ring_rows + together), reach);
  float* const products = scratch.row(0) + kLine;                   // one image row's quantities, those of zeros around
  float* const ring = scratch.row(kQuantities);                     // [ring_rows][4] filtered rows
  float* const means = scratch.row(kQuantities * (1 + ring_rows));  // [together][4] map rows' moments
  float* const outside = scratch.row(kQuantities * (1 + ring_rows + together));
  const int64_t line = scratch.length(), map = g.rows * g.columns;
  const float* const plane_x = x + band.plane * g.height * g.width;
  const float* const plane_y = y + band.plane * g.height * g.width;
  const int64_t middle = std::clamp<int64_t>((band.begin + band.end) / 2 * g.stride, 0, g.height - 1) * g.width;
  const Shift shift = means_of_rows(plane_x + middle, plane_y + middle, g.width);
  fill_outside(shift, reach, line, products - kLine);
  fill_outside(shift, g.columns, line, outside);

  SsimSums sums;
  const int64_t own_end = band.end < g.rows ? band.end : g.height;  // image rows [begin, own_end): no other band's
  int64_t next = 0;                                                 // first image row that has not been filtered
  for (int64_t row = band.begin; row < band.end; row += together) {
    const int count = static_cast<int>(std::min<int64_t>(together, band.end - row));
    const int64_t top = row * g.stride - g.before, bottom = std::min(top + taps + count - 1, g.height);
    // 1. Filter the image rows that these map rows are the first to need, and add up the errors of the own ones.
    for (next = std::max({next, top, int64_t{0}}); next < bottom; ++next) {
      quantities_of_row(plane_x + next * g.width, plane_y + next * g.width, shift, inside, line, products);
      for (int q = 0; q < kQuantities; ++q)
        filter_along(products + q * line - g.before, g.weights, taps, g.stride, g.columns,
                     ring + (next % ring_rows * kQuantities + q) * line);
      if (target.error_power > 0 && band.begin <= next && next < own_end)
        sums.error += error_of_row(plane_x + next * g.width, plane_y + next * g.width, g.width, target.error_power);
    }
    // 2. Combine the ring's rows and those outside the image.
    for (int q = 0; q < kQuantities; ++q) {
      const float* rows[kLargestWindow + kTogether - 1];
      for (int k = 0; k < taps + count - 1; ++k) {
        const int64_t from = top + k;
        const bool is_inside = 0 <= from && from < g.height;
        rows[k] = is_inside ? ring + (from % ring_rows * kQuantities + q) * line : outside + q * line;
      }
      filter_across(rows, g.weights, taps, count, g.columns, means + q * line, kQuantities * line);
    }
    // 3. Keep the moments, or SSIM's sums and partial derivatives.
    for (int r = 0; r < count; ++r) {
      float* const m = means + r * kQuantities * line;
      moments_of_row(shift, g.columns, line, m);
      const int64_t offset = band.plane * map + (row + r) * g.columns;
      if (target.moments != nullptr) {
        for (int q = 0; q < kQuantities; ++q)
          std::memcpy(target.moments + q * g.planes * map + offset, m + q * line, g.columns * sizeof(float));
      } else {
        const auto at = [offset](float* pointer) { return pointer == nullptr ? nullptr : pointer + offset; };
        const SsimPartials<float>& p = target.partials;
        sums.add(similarity_of_row(g, g.columns, m, m + line, m + 2 * line, m + 3 * line,
                                   {at(p.mean_x), at(p.mean_y), at(p.square), at(p.product)}));
      }
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

// Spreads a row of sums over windows back along x: out[i] = sum over windows o and taps k with o * stride - before + k
// = i. `row` has room for a window's reach before and after it, where there are zeros.
NERF_SSIM_PART void spread_along(const SsimGeometry& g, const float* row, const float* mirrored, float* spread,
                                 float* out, int64_t length) {
  const int taps = static_cast<int>(g.taps);
  if (g.stride == 1) {
    filter_along(row - (taps - 1) + g.before, mirrored, taps, 1, g.width, out);
    return;
  }
  std::memset(spread, 0, length * sizeof(float));
  for (int64_t o = 0; o < g.columns; ++o)
    for (int k = 0; k < taps; ++k) spread[o * g.stride + k] += g.weights[k] * row[o];
  std::memcpy(out, spread + g.before, g.width * sizeof(float));
}

// own and other are y and x for the gradient with respect to y; mean_other and grad_other are null unless both are
// wanted.
struct AdjointJob {
  const float *own, *other, *mean_own, *mean_other, *square, *product;
  float scale;
  PixelError error;
  float *grad_own, *grad_other;
};

int64_t ceil_div(int64_t a, int64_t positive) { return a > 0 ? (a - 1) / positive + 1 : a / positive; }

// The gradient of `n` pixels of an image row from its sums: d(x^2 + y^2)/dy = 2 y, d(x y)/dy = x.
NERF_SSIM_PART void gradient_of_row(const float* __restrict own, const float* __restrict other,
                                    const float* __restrict by_square, const float* __restrict by_product,
                                    const float* __restrict by_mean, int64_t n, float* __restrict out) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) out[i] = by_mean[i] + 2 * own[i] * by_square[i] + other[i] * by_product[i];
}

// Adds the gradient of the pixels' errors, whose sign at 0 is 0.
NERF_SSIM_PART void add_error_gradient(const float* __restrict own, const float* __restrict other,
                                       const PixelError& error, int64_t n, float* __restrict out) {
  const float scale = error.scale;
  if (error.power == 1) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
      const float d = own[i] - other[i];
      out[i] += d > 0 ? scale : d < 0 ? -scale : 0.f;
    }
  } else {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) out[i] += 2 * scale * (own[i] - other[i]);
  }
}

NERF_SSIM_CLONES
void adjoint_band(const SsimGeometry& g, const AdjointJob& job, Band band) {
  const int taps = static_cast<int>(g.taps), together = rows_together(g);
  const float* const maps[kQuantities] = {job.square, job.product, job.mean_own, job.mean_other};
  const int quantities = job.mean_other == nullptr ? 3 : 4;
  const int64_t length = std::max(g.columns * g.stride, g.width + g.before) + 2 * kLine;
  const Scratch scratch(together * (1 + kQuantities) + 2, length);
  float* const across = scratch.zeros(0, together) + kLine;  // map rows' combinations, zeros around
  float* const sums = scratch.row(together);                 // [together][4] image rows' sums
  float* const spread = scratch.row(together * (1 + kQuantities));
  const float* const zeros = scratch.zeros(together * (1 + kQuantities) + 1, 1);
  const int64_t line = scratch.length(), map = band.plane * g.rows * g.columns;
  float mirrored[kLargestWindow], weights[kLargestWindow];
  for (int k = 0; k < taps; ++k) mirrored[k] = g.weights[taps - 1 - k];

  for (int64_t row = band.begin; row < band.end; row += together) {
    const int count = static_cast<int>(std::min<int64_t>(together, band.end - row));
    // 1. The map rows whose windows hold this image row, o * stride - before + k = row for a tap k, and their weights.
    // The next image row's are one further on, where there is one: the stride is 1 then.
    const int64_t reach = row + g.before, first = ceil_div(reach - taps + 1, g.stride), last = reach / g.stride;
    const int windows = static_cast<int>(std::max<int64_t>(last - first + 1, 0));
    for (int64_t o = first; o <= last; ++o) weights[o - first] = g.weights[reach - o * g.stride] * job.scale;
    // 2. Combine them, and spread the result along x. Rows outside the map are zero.
    for (int q = 0; q < quantities; ++q) {
      const float* rows[kLargestWindow + kTogether - 1];
      for (int k = 0; k < windows + count - 1; ++k) {
        const int64_t o = first + k;
        rows[k] = o < 0 || o >= g.rows ? zeros : maps[q] + map + o * g.columns;
      }
      filter_across(rows, weights, windows, count, g.columns, across, line);
      for (int r = 0; r < count; ++r)
        spread_along(g, across + r * line, mirrored, spread, sums + (r * kQuantities + q) * line, length);
    }
    // 3. From sums to gradients.
    for (int r = 0; r < count; ++r) {
      const float* const s = sums + r * kQuantities * line;
      const int64_t offset = (band.plane * g.height + row + r) * g.width;
      const float *own = job.own + offset, *other = job.other + offset;
      gradient_of_row(own, other, s, s + line, s + 2 * line, g.width, job.grad_own + offset);
      if (quantities == 4) gradient_of_row(other, own, s, s + line, s + 3 * line, g.width, job.grad_other + offset);
      if (job.error.power > 0) {
        add_error_gradient(own, other, job.error, g.width, job.grad_own + offset);
        if (quantities == 4) add_error_gradient(other, own, job.error, g.width, job.grad_other + offset);
      }
    }
  }
}

}  // namespace

NERF_SSIM_CLONES
SsimSums ssim_row(const SsimGeometry& g, int64_t n, const float* mean_x, const float* mean_y, const float* variances,
                  const float* covariance, const SsimPartials<float>& partials) {
  return similarity_of_row(g, n, mean_x, mean_y, variances, covariance, partials);
}

void ssim_moments(const SsimGeometry& g, const float* x, const float* y, float* moments) {
  forward(g, x, y, {moments, {}});
}

SsimSums ssim_forward(const SsimGeometry& g, const float* x, const float* y, const SsimPartials<float>& partials,
                      int64_t error_power) {
  return forward(g, x, y, {nullptr, partials, error_power});
}

void ssim_adjoint(const SsimGeometry& g, const float* x, const float* y, const SsimPartials<const float>& p,
                  float scale, float* grad_x, float* grad_y, const PixelError& error) {
  AdjointJob job{y, x, p.mean_y, p.mean_x, p.square, p.product, scale, error, grad_y, grad_x};
  if (grad_y == nullptr) job = {x, y, p.mean_x, nullptr, p.square, p.product, scale, error, grad_x, nullptr};
  if (grad_x == nullptr) job.mean_other = nullptr;
  const int64_t bands_of_plane = (g.height + kBand - 1) / kBand, bands = g.planes * bands_of_plane;
#pragma omp parallel for schedule(static) if (bands > 1)
  for (int64_t index = 0; index < bands; ++index) adjoint_band(g, job, band_at(index, g.height, bands_of_plane));
}

}  // namespace nerf_ssim::cpu
