// Any window at any stride: a thread reads what it needs from global memory, which caches serve. Sizes and strides that
// are known when compiling (S3IM's 4 at stride 4, whose windows share no pixel) are template arguments; 0 is known at
// run time.
#pragma once

#include "ssim_index.cuh"

namespace nerf_ssim {
namespace {

constexpr int kDirectThreads = 256;

template <int kSize, int kStride>
__device__ __forceinline__ SsimPlaces with_known_size(SsimPlaces g) {
  if (kSize > 0) g.size = kSize;
  if (kStride > 0) g.stride = kStride;
  return g;
}

// The moments of one window: zeros outside the image count with their weight. Values are taken less the window's middle
// one. A window that reaches outside holds zeros and is not flat: its values are taken as they are. Loops of a size
// that is not known when compiling stay loops: unrolled, they would spill.
template <int kSize>
__device__ __forceinline__ Moments window_moments(const float* __restrict__ x, const float* __restrict__ y,
                                                  const SsimPlaces& g, const Taps& taps, int64_t plane, int row,
                                                  int column) {
  const int top = row * g.stride - g.before, left = column * g.stride - g.before;
  const bool is_whole = top >= 0 && left >= 0 && top + g.size <= g.height && left + g.size <= g.width;
  const int64_t middle = (plane * g.height + top + g.size / 2) * g.width + left + g.size / 2;
  const float2 shift = is_whole ? make_float2(x[middle], y[middle]) : make_float2(0.f, 0.f);
  Means means{};
#pragma unroll(kSize > 0 ? kSize : 1)
  for (int i = 0; i < g.size; ++i) {
    if (top + i < 0 || top + i >= g.height) continue;
    const int64_t line = (plane * g.height + top + i) * g.width;
#pragma unroll(kSize > 0 ? kSize : 1)
    for (int j = 0; j < g.size; ++j) {
      if (left + j < 0 || left + j >= g.width) continue;
      means.add(taps.weights[i] * taps.weights[j], x[line + left + j] - shift.x, y[line + left + j] - shift.y);
    }
  }
  return means.moments(shift);
}

// A thread owns a window, and the windows a grid further on.
template <int kSize, int kStride, bool kWantsMoments>
__global__ void __launch_bounds__(kDirectThreads)
    ssim_direct_forward(const float* __restrict__ x, const float* __restrict__ y, SsimPlaces known,
                        const __grid_constant__ Taps taps, const __grid_constant__ Constants constants,
                        ForwardTarget target) {
  const SsimPlaces g = with_known_size<kSize, kStride>(known);
  const int64_t in_plane = int64_t{g.rows} * g.columns, windows = g.planes * in_plane;
  const int thread = static_cast<int>(threadIdx.x);
  __shared__ float of_warps[kStatistics][kDirectThreads / kWarpLanes];
  Statistics statistics{};
  for (int64_t w = int64_t{blockIdx.x} * kDirectThreads + thread; w < windows;
       w += int64_t{gridDim.x} * kDirectThreads) {
    // 1. The window's moments.
    const int64_t plane = w / in_plane, place = w % in_plane;
    const int row = static_cast<int>(place / g.columns), column = static_cast<int>(place % g.columns);
    const Moments m = window_moments<kSize>(x, y, g, taps, plane, row, column);
    // 2. Its index, derivatives and part of the sums.
    if constexpr (kWantsMoments)
      target.store_moments(m, windows, w);
    else
      target.store_index(m, constants, w, statistics);
  }
  if constexpr (!kWantsMoments) store_block_sums(statistics, thread, of_warps, target.block_sums);
}

// A thread owns a pixel, and the pixels a grid further on: it adds up what the windows over it send.
template <int kSize, int kStride, bool kWantsBoth>
__global__ void __launch_bounds__(kDirectThreads)
    ssim_direct_adjoint(const float* __restrict__ own, const float* __restrict__ other, SsimPlaces known,
                        const __grid_constant__ Taps taps, AdjointMaps maps, const float* __restrict__ scale,
                        float factor, float* __restrict__ grad_own, float* __restrict__ grad_other) {
  const SsimPlaces g = with_known_size<kSize, kStride>(known);
  const int64_t in_plane = int64_t{g.height} * g.width, pixels = g.planes * in_plane;
  const float by = *scale * factor;
  for (int64_t p = int64_t{blockIdx.x} * kDirectThreads + threadIdx.x; p < pixels;
       p += int64_t{gridDim.x} * kDirectThreads) {
    // 1. The windows over the pixel: row * stride - before <= pixel row < row * stride - before + size, columns
    // likewise.
    const int64_t plane = p / in_plane, place = p % in_plane;
    const int down = static_cast<int>(place / g.width) + g.before, along = static_cast<int>(place % g.width) + g.before;
    const int top = down < g.size ? 0 : (down - g.size) / g.stride + 1, bottom = min(down / g.stride, g.rows - 1);
    const int left = along < g.size ? 0 : (along - g.size) / g.stride + 1, right = min(along / g.stride, g.columns - 1);
    // 2. The sum of their derivatives under the pixel's tap in each.
    float square = 0.f, product = 0.f, mean_own = 0.f, mean_other = 0.f;
    for (int row = top; row <= bottom; ++row)
      for (int column = left; column <= right; ++column) {
        const int64_t window = (plane * g.rows + row) * g.columns + column;
        const float w = taps.weights[down - row * g.stride] * taps.weights[along - column * g.stride];
        square += w * maps.of[0][window];
        product += w * maps.of[1][window];
        mean_own += w * maps.of[2][window];
        if constexpr (kWantsBoth) mean_other += w * maps.of[3][window];
      }
    // 3. d(x^2 + y^2)/dx = 2 x, d(x y)/dx = y.
    const float u = own[p], v = other[p];
    grad_own[p] = by * (mean_own + 2.f * u * square + v * product);
    if constexpr (kWantsBoth) grad_other[p] = by * (mean_other + 2.f * v * square + u * product);
  }
}

}  // namespace
}  // namespace nerf_ssim
