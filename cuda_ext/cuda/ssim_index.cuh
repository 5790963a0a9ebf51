// The index of one window from its means, and sums of it over blocks: what all SSIM and S3IM kernels share.
//
// Means are those of x, y, x^2 + y^2 and x y under the window's weights: var_x + var_y is all that SSIM needs of
// variances.
#pragma once

#include <cstdint>

#include "../include/ssim.h"
#include "launch.h"
#include "warp.cuh"

namespace nerf_ssim {
namespace {

constexpr int kStatistics = 5;  // sums of SSIM, S1, S2, mu_x - mu_y and its size

struct Taps {
  float weights[kLargestWindow];  // along one axis
};

// [height, width] planes and the windows over them; rows and columns are those of the maps.
struct SsimPlaces {
  int64_t planes;
  int height, width, rows, columns, size, stride, before;
};

struct Moments {
  float x, y, square, product;

  // Adds a pixel under weight w.
  __device__ __forceinline__ void add(float w, float u, float v) {
    const float wu = w * u, wv = w * v;
    x += wu;
    y += wv;
    square += wu * u + wv * v;
    product += wu * v;
  }
};

struct Similarity {
  float luminance, structure, inverse1, inverse2;  // S1, S2 and the inverses of their denominators
};

// The fast quotient is within two units in the last place and needs no registers for the cases beyond the normal range.
__device__ __forceinline__ Similarity similarity(const Moments& m, float c1, float c2) {
  const float mixed = m.x * m.y, squares = m.x * m.x + m.y * m.y;
  const float inverse1 = __fdividef(1.f, squares + c1), inverse2 = __fdividef(1.f, m.square - squares + c2);
  return {(2.f * mixed + c1) * inverse1, (2.f * (m.product - mixed) + c2) * inverse2, inverse1, inverse2};
}

// dSSIM/dmu = 2 S2/B1 (mu_other - S1 mu) + 2 S1/B2 (S2 mu - mu_other), the moments of second order held.
__device__ __forceinline__ float by_mean(const Similarity& s, float own, float other) {
  return 2.f * (s.structure * s.inverse1 * (other - s.luminance * own) +
                s.luminance * s.inverse2 * (s.structure * own - other));
}
__device__ __forceinline__ float by_square(const Similarity& s) { return -s.luminance * s.structure * s.inverse2; }
__device__ __forceinline__ float by_product(const Similarity& s) { return 2.f * s.luminance * s.inverse2; }

struct Statistics {
  float sums[kStatistics];

  __device__ __forceinline__ void add(const Moments& m, const Similarity& s) {
    const float difference = m.x - m.y;
    sums[0] += s.luminance * s.structure;
    sums[1] += s.luminance;
    sums[2] += s.structure;
    sums[3] += difference;
    sums[4] += fabsf(difference);
  }
};

// Writes the block's sums to block_sums [5, blocks]. All threads of the block must call it.
template <int kThreads>
__device__ __forceinline__ void store_block_sums(const Statistics& statistics, int thread, float* block_sums) {
  constexpr int kWarps = kThreads / kWarpLanes;
  __shared__ float of_warps[kStatistics][kWarps];
#pragma unroll
  for (int i = 0; i < kStatistics; ++i) {
    const float sum = warp_sum(statistics.sums[i]);
    if (thread % kWarpLanes == 0) of_warps[i][thread / kWarpLanes] = sum;
  }
  __syncthreads();
  if (thread >= kStatistics) return;
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
    moments[window] = m.x;
    moments[windows + window] = m.y;
    moments[2 * windows + window] = m.square;
    moments[3 * windows + window] = m.product;
  }

  __device__ __forceinline__ void store_index(const Moments& m, float c1, float c2, int64_t window,
                                              Statistics& statistics) const {
    const Similarity s = similarity(m, c1, c2);
    statistics.add(m, s);
    if (by_square != nullptr) {
      by_square[window] = nerf_ssim::by_square(s);
      by_product[window] = nerf_ssim::by_product(s);
    }
    if (by_mean_x != nullptr) by_mean_x[window] = by_mean(s, m.x, m.y);
    if (by_mean_y != nullptr) by_mean_y[window] = by_mean(s, m.y, m.x);
  }
};

// by_square, by_product, by_mean of the image whose gradient is wanted and, if both are, by_mean of the other.
struct AdjointMaps {
  const float* of[4];
};

constexpr int kMeanThreads = 256;

// One block adds block_sums [5, blocks] in a fixed order, so that the same input gives the same bits, and divides by
// the number of windows. `mean` is that of SSIM, or 1 less it where a loss is wanted.
__global__ void __launch_bounds__(kMeanThreads)
    mean_of_blocks(const float* __restrict__ block_sums, int64_t blocks, float windows, bool is_loss,
                   float* __restrict__ mean, float* __restrict__ statistics) {
  __shared__ float of_warps[kStatistics][kMeanThreads / kWarpLanes];
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = 0; i < kStatistics; ++i) {
    float sum = 0.f;
    for (int64_t block = thread; block < blocks; block += kMeanThreads) sum += block_sums[i * blocks + block];
    sum = block_sum<kMeanThreads>(sum, of_warps[i], thread);
    if (thread == 0) statistics[i] = sum / windows;
    if (thread == 0 && i == 0) *mean = is_loss ? 1.f - sum / windows : sum / windows;
  }
}

}  // namespace

// Host side.
inline Taps taps_of(const SsimGeometry& g) {
  Taps taps{};
  for (int64_t k = 0; k < g.taps; ++k) taps.weights[k] = g.weights[k];
  return taps;
}

}  // namespace nerf_ssim
