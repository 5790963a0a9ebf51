// Whole-plane operations: one thread owns a run of rows. Loops run over a row's floats and vectorise as they are.
#include "../include/planes.h"

#include <algorithm>
#include <vector>

#include "x86_levels.h"

namespace nerf_ssim::cpu {
namespace {

constexpr int64_t kFloatsPerShare = 1 << 15;
constexpr int64_t kFloatsPerSum = 4096;  // single-precision sums stay this short

int shares_of(int64_t rows, int64_t row, int threads) {
  const int64_t wanted = std::min(rows, rows * row / kFloatsPerShare);
  return static_cast<int>(std::clamp<int64_t>(wanted, 1, std::max(1, threads)));
}

NERF_SSIM_CLONES
double squared_difference(const float* a, const float* b, int64_t count) {
  double total = 0.0;
  for (int64_t first = 0; first < count; first += kFloatsPerSum) {
    const int64_t last = std::min(count, first + kFloatsPerSum);
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = first; i < last; ++i) sum += (b[i] - a[i]) * (b[i] - a[i]);
    total += sum;
  }
  return total;
}

// One row's gradient: every value is drawn to its neighbours in the row by `of_u`, to those above and below by `of_v`.
// Rows that are not there are given as the row itself.
NERF_SSIM_CLONES
void row_gradient(const float* above, const float* here, const float* below, int64_t row, int64_t channels, float of_v,
                  float of_u, float* to) {
#pragma omp simd
  for (int64_t i = 0; i < row; ++i) to[i] = of_v * ((here[i] - above[i]) + (here[i] - below[i]));
#pragma omp simd
  for (int64_t i = channels; i < row; ++i) to[i] += of_u * (here[i] - here[i - channels]);
#pragma omp simd
  for (int64_t i = 0; i < row - channels; ++i) to[i] += of_u * (here[i] - here[i + channels]);
}

// How many differences there are along v and along u; at least one, so that it divides.
double vertical_count(const Plane& p) { return std::max<double>(1, double(p.n_v - 1) * p.n_u * p.channels); }
double horizontal_count(const Plane& p) { return std::max<double>(1, double(p.n_v) * (p.n_u - 1) * p.channels); }

}  // namespace

double plane_tv(const Plane& plane, int threads) {
  const int64_t row = plane.n_u * plane.channels;
  const int shares = shares_of(plane.n_v, row, threads);
  std::vector<double> of_row(plane.n_v);  // added in order: the same for any number of threads
#pragma omp parallel for num_threads(shares) schedule(static)
  for (int64_t v = 0; v < plane.n_v; ++v) {
    const float* here = plane.values + v * row;
    const double along_u = squared_difference(here, here + plane.channels, row - plane.channels);
    const double along_v = v + 1 < plane.n_v ? squared_difference(here, here + row, row) : 0.0;
    of_row[v] = along_u / horizontal_count(plane) + along_v / vertical_count(plane);
  }
  double total = 0.0;
  for (const double sum : of_row) total += sum;
  return 2.0 * total;
}

void plane_tv_backward(const Plane& plane, float scale, float* gradient, int threads) {
  const int64_t row = plane.n_u * plane.channels, c = plane.channels;
  const float of_v = static_cast<float>(4.0 * scale / vertical_count(plane));
  const float of_u = static_cast<float>(4.0 * scale / horizontal_count(plane));
  const int shares = shares_of(plane.n_v, row, threads);
#pragma omp parallel for num_threads(shares) schedule(static)
  for (int64_t v = 0; v < plane.n_v; ++v) {
    const float* here = plane.values + v * row;
    const float* above = v > 0 ? here - row : here;
    const float* below = v + 1 < plane.n_v ? here + row : here;
    row_gradient(above, here, below, row, c, of_v, of_u, gradient + v * row);
  }
}

void resize_plane(const Plane& plane, int64_t n_v, int64_t n_u, float* out, int threads) {
  const int64_t c = plane.channels, row = plane.n_u * c;
  const float step_v = n_v > 1 ? static_cast<float>(plane.n_v - 1) / static_cast<float>(n_v - 1) : 0.0f;
  const float step_u = n_u > 1 ? static_cast<float>(plane.n_u - 1) / static_cast<float>(n_u - 1) : 0.0f;
  const int shares = shares_of(n_v, n_u * c, threads);
#pragma omp parallel for num_threads(shares) schedule(static)
  for (int64_t v = 0; v < n_v; ++v) {
    const float at_v = step_v * static_cast<float>(v);
    const int64_t near_v = std::min<int64_t>(static_cast<int64_t>(at_v), plane.n_v - 1);
    const int64_t far_v = std::min(near_v + 1, plane.n_v - 1);
    const float down = at_v - static_cast<float>(near_v);
    for (int64_t u = 0; u < n_u; ++u) {
      const float at_u = step_u * static_cast<float>(u);
      const int64_t near_u = std::min<int64_t>(static_cast<int64_t>(at_u), plane.n_u - 1);
      const int64_t far_u = std::min(near_u + 1, plane.n_u - 1);
      const float right = at_u - static_cast<float>(near_u);
      const float* a = plane.values + near_v * row + near_u * c;
      const float* b = plane.values + near_v * row + far_u * c;
      const float* d = plane.values + far_v * row + near_u * c;
      const float* e = plane.values + far_v * row + far_u * c;
      float* to = out + (v * n_u + u) * c;
#pragma omp simd
      for (int64_t k = 0; k < c; ++k)
        to[k] = (1.0f - down) * ((1.0f - right) * a[k] + right * b[k]) + down * ((1.0f - right) * d[k] + right * e[k]);
    }
  }
}

}  // namespace nerf_ssim::cpu
