// The index of one window from its moments, and sums of it over blocks: what all SSIM and S3IM kernels share.
//
// Values are taken less a shift near them, so that the variance of a flat picture is not a difference of large squares.
// var_x + var_y is all that SSIM needs of variances, and the covariance is half of it less half of var(x - y): S2
// exceeds 1 by no more than the rounding of var(x - y).
#pragma once

#include <cstdint>

#include "../include/ssim.h"
#include "launch.h"
#include "warp.cuh"

namespace nerf_ssim {
namespace {

constexpr int kStatistics = 5;              // sums of SSIM, S1, S2, mu_x - mu_y and its size
constexpr int kLossSums = kStatistics + 1;  // and of the pixels' errors

struct Taps {
  float weights[kLargestWindow];  // along one axis
};

// [height, width] planes and the windows over them; rows and columns are those of the maps.
struct SsimPlaces {
  int64_t planes;
  int height, width, rows, columns, size, stride, before;
};

struct Constants {
  float c1, c2;
  SsimMix mix;
};

// The pixel of both images that values are taken less, 0 where it is not finite in one.
__device__ __forceinline__ float2 shift_of(float u, float v) {
  const bool is_finite = fabsf(u) < INFINITY && fabsf(v) < INFINITY;
  return is_finite ? make_float2(u, v) : make_float2(0.f, 0.f);
}

struct Moments {
  float mean_x, mean_y, variances, covariance;
};

// Means under a window's weights of the values less their shift, of x^2 + y^2 and of (x - y)^2.
struct Means {
  float x, y, square, difference;

  // Adds a pixel under weight w.
  __device__ __forceinline__ void add(float w, float u, float v) {
    const float wu = w * u, wv = w * v, d = u - v;
    x += wu;
    y += wv;
    square += wu * u + wv * v;
    difference += w * d * d;
  }

  __device__ __forceinline__ Moments moments(float2 shift) const {
    const float both = square - (x * x + y * y), d = x - y;
    return {x + shift.x, y + shift.y, both, 0.5f * (both - (difference - d * d))};
  }
};

// S1, S2, and the index' derivative by each over its denominator.
struct Similarity {
  float luminance, structure, by_luminance, by_structure;
};

// The fast quotient is within two units in the last place and needs no registers for the cases beyond the normal range.
__device__ __forceinline__ Similarity similarity(const Moments& m, const Constants& by) {
  const float mixed = m.mean_x * m.mean_y, squares = m.mean_x * m.mean_x + m.mean_y * m.mean_y;
  const float inverse1 = __fdividef(1.f, squares + by.c1), inverse2 = __fdividef(1.f, m.variances + by.c2);
  const float s1 = (2.f * mixed + by.c1) * inverse1, s2 = (2.f * m.covariance + by.c2) * inverse2;
  return {s1, s2, (by.mix.product * s2 + by.mix.luminance) * inverse1,
          (by.mix.product * s1 + by.mix.structure) * inverse2};
}

// df/dmu = 2 f_1/B1 (mu_other - S1 mu) + 2 f_2/B2 (S2 mu - mu_other) of the index f(S1, S2), the means of x^2 + y^2 and
// of x y held.
__device__ __forceinline__ float by_mean(const Similarity& s, float own, float other) {
  return 2.f * (s.by_luminance * (other - s.luminance * own) + s.by_structure * (s.structure * own - other));
}
__device__ __forceinline__ float by_square(const Similarity& s) { return -s.structure * s.by_structure; }
__device__ __forceinline__ float by_product(const Similarity& s) { return 2.f * s.by_structure; }

// The error of a pixel whose values differ by d, and its derivative by d.
__device__ __forceinline__ float pixel_error(int64_t power, float d) { return power == 2 ? d * d : fabsf(d); }
__device__ __forceinline__ float slope_of_error(int64_t power, float d) {
  return power == 2 ? 2.f * d : static_cast<float>((d > 0.f) - (d < 0.f));
}

struct Statistics {
  float sums[kStatistics];

  __device__ __forceinline__ void add(const Moments& m, const Similarity& s) {
    const float difference = m.mean_x - m.mean_y;
    sums[0] += s.luminance * s.structure;
    sums[1] += s.luminance;
    sums[2] += s.structure;
    sums[3] += difference;
    sums[4] += fabsf(difference);
  }
};

// Leaves the sum over each warp in of_warps. All threads of the block must call it.
__device__ __forceinline__ void keep_warp_sum(float mine, int thread, float* of_warps) {
  const float sum = warp_sum(mine);
  if (thread % kWarpLanes == 0) of_warps[thread / kWarpLanes] = sum;
}

// Writes the block's sums to block_sums [kSums, blocks]. All threads of the block must call it. Sums beyond the
// statistics have been left in of_warps before.
template <int kSums, int kWarps>
__device__ __forceinline__ void store_block_sums(const Statistics& statistics, int thread,
                                                 float (&of_warps)[kSums][kWarps], float* block_sums) {
#pragma unroll
  for (int i = 0; i < kStatistics; ++i) keep_warp_sum(statistics.sums[i], thread, of_warps[i]);
  __syncthreads();
  if (thread >= kSums) return;
  float sum = 0.f;
  for (int warp = 0; warp < kWarps; ++warp) sum += of_warps[thread][warp];
  block_sums[int64_t{thread} * gridDim.x + blockIdx.x] = sum;
}

// Where a forward pass leaves its results: the moments [4, windows], or the index' derivatives (each null where not
// wanted, by_square and by_product together) and its sums.
struct ForwardTarget {
  float* moments;
  float *by_mean_x, *by_mean_y, *by_square, *by_product, *block_sums;

  __device__ __forceinline__ void store_moments(const Moments& m, int64_t windows, int64_t window) const {
    moments[window] = m.mean_x;
    moments[windows + window] = m.mean_y;
    moments[2 * windows + window] = m.variances;
    moments[3 * windows + window] = m.covariance;
  }

  __device__ __forceinline__ void store_index(const Moments& m, const Constants& by, int64_t window,
                                              Statistics& statistics) const {
    const Similarity s = similarity(m, by);
    statistics.add(m, s);
    if (by_square != nullptr) {
      by_square[window] = nerf_ssim::by_square(s);
      by_product[window] = nerf_ssim::by_product(s);
    }
    if (by_mean_x != nullptr) by_mean_x[window] = by_mean(s, m.mean_x, m.mean_y);
    if (by_mean_y != nullptr) by_mean_y[window] = by_mean(s, m.mean_y, m.mean_x);
  }
};

// by_square, by_product, by_mean of the image whose gradient is wanted and, if both are, by_mean of the other.
struct AdjointMaps {
  const float* of[4];
};

constexpr int kMeanThreads = 256;

// What is made of the means: constant + by_index * the mean index + by_error * the mean error of the pixels.
struct Combination {
  SsimMix mix;
  float windows, pixels;
  float constant, by_index, by_error;
};

// One block adds block_sums [kSums, blocks] in a fixed order, so that the same input gives the same bits, and divides
// by the number of windows or pixels. `statistics` [5] may be null.
template <int kSums>
__global__ void __launch_bounds__(kMeanThreads)
    mean_of_blocks(const float* __restrict__ block_sums, int64_t blocks, Combination of, float* __restrict__ value,
                   float* __restrict__ statistics) {
  __shared__ float of_warps[kSums][kMeanThreads / kWarpLanes];
  const int thread = static_cast<int>(threadIdx.x);
  const float weights[kStatistics] = {of.mix.product, of.mix.luminance, of.mix.structure, 0.f, 0.f};
  // 1. one pass over all sums, whose reads do not wait for each other
  float mine[kSums] = {};
  for (int64_t block = thread; block < blocks; block += kMeanThreads)
#pragma unroll
    for (int i = 0; i < kSums; ++i) mine[i] += block_sums[i * blocks + block];
  // 2. the threads
  float index = 0.f, error = 0.f;
#pragma unroll
  for (int i = 0; i < kSums; ++i) {
    const float sum = block_sum<kMeanThreads>(mine[i], of_warps[i], thread);
    if (i == kStatistics) {
      error = of.by_error * (sum / of.pixels);
      continue;
    }
    if (thread == 0 && statistics != nullptr) statistics[i] = sum / of.windows;
    if (weights[i] != 0.f) index += weights[i] * (sum / of.windows);
  }
  if (thread == 0) *value = of.constant + of.by_index * index + error;
}

}  // namespace

// Host side.
inline Constants constants_of(const SsimGeometry& g) { return {g.c1, g.c2, g.mix}; }

inline float total_of(const SsimMix& mix) { return mix.product + mix.luminance + mix.structure; }

inline Taps taps_of(const SsimGeometry& g) {
  Taps taps{};
  for (int64_t k = 0; k < g.taps; ++k) taps.weights[k] = g.weights[k];
  return taps;
}

}  // namespace nerf_ssim
