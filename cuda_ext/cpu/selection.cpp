// The samples that get a colour: each share of the threads counts its own, then gathers them behind those before.
#include "../include/selection.h"

#include <algorithm>
#include <cstring>

namespace nerf_ssim::cpu {
namespace {

int64_t first_of(const WeighedSamples& from, int64_t share, int shares) { return from.samples * share / shares; }

}  // namespace

void count_chosen(const WeighedSamples& from, int shares, int64_t* before) {
  before[0] = 0;
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share) {
    const int64_t end = first_of(from, share + 1, shares);
    int64_t count = 0;
    for (int64_t i = first_of(from, share, shares); i < end; ++i) count += from.weights[i] > from.threshold;
    before[share + 1] = count;
  }
  for (int share = 0; share < shares; ++share) before[share + 1] += before[share];
}

bool gather_chosen(const WeighedSamples& from, int shares, const int64_t* before, const ChosenSamples& to) {
  bool are_there = true;
#pragma omp parallel for num_threads(shares) schedule(static, 1) reduction(&& : are_there)
  for (int share = 0; share < shares; ++share) {
    int64_t next = before[share];
    for (int64_t i = first_of(from, share, shares); i < first_of(from, share + 1, shares); ++i) {
      if (!(from.weights[i] > from.threshold)) continue;
      const int64_t ray = from.ray_index[i];
      if (ray < 0 || ray >= from.rays) {
        are_there = false;
        continue;
      }
      to.weights[next] = from.weights[i];
      to.index[next] = i;
      to.ray_index[next] = ray;
      std::copy_n(from.coords + 3 * i, 3, to.coords + 3 * next);
      std::copy_n(from.directions + 3 * ray, 3, to.directions + 3 * next);
      if (to.t) to.t[next] = from.t[i];
      ++next;
    }
  }
  return are_there;
}

void spread_chosen(const float* grad, const int64_t* index, int64_t chosen, float* gradient, int64_t samples) {
  std::memset(gradient, 0, samples * sizeof(float));
  for (int64_t i = 0; i < chosen; ++i) gradient[index[i]] = grad[i];
}

}  // namespace nerf_ssim::cpu
