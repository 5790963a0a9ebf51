// The 11x11 window at stride 1, tile by tile: index, moments, and gradient from saved partial derivatives; with them,
// where it is wanted, the error of the pixels, which are at hand.
//
// A block owns a tile of kTileX x kTileY results of one plane. It filters along x what the tile needs (ten more columns
// and rows) from shared memory into shared memory, then along y, two results a thread or one.
#pragma once

#include "ssim_index.cuh"

namespace nerf_ssim {
namespace {

constexpr int kTaps = 11, kHalo = kTaps - 1;
constexpr int kTileX = 32, kThreadRows = 16, kTileThreads = kTileX * kThreadRows;
// So many of those blocks are all that a multiprocessor holds; four leave 32 registers a thread.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
constexpr int kBlocksPerSm = 2;
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ != 800 && __CUDA_ARCH__ != 900 && __CUDA_ARCH__ / 100 != 10
constexpr int kBlocksPerSm = 3;
#else
constexpr int kBlocksPerSm = 4;
#endif

struct Tile {
  int64_t plane;
  int left, top;
};

template <int kTileY>
__device__ __forceinline__ Tile tile_of_block(int rows, int columns) {
  const unsigned across = (columns + kTileX - 1) / kTileX, down = (rows + kTileY - 1) / kTileY;
  const unsigned in_plane = blockIdx.x % (across * down);
  return {blockIdx.x / (across * down), static_cast<int>(in_plane % across) * kTileX,
          static_cast<int>(in_plane / across) * kTileY};
}

// Tiles of results [planes, rows, columns], 0 where a grid can't have as many.
template <int kTileY>
unsigned tiles_of(int64_t planes, int64_t rows, int64_t columns) {
  const int64_t tiles = planes * ceil_divide(rows, kTileY) * ceil_divide(columns, kTileX);
  return tiles <= kMostBlocks ? static_cast<unsigned>(tiles) : 0;
}

// The pixel in the middle of `rows` x `columns` from (top, left), or the image's nearest.
__device__ __forceinline__ int64_t middle_of(int64_t plane, int top, int left, int rows, int columns,
                                             const SsimPlaces& g) {
  const int row = min(max(top + rows / 2, 0), g.height - 1), column = min(max(left + columns / 2, 0), g.width - 1);
  return plane + int64_t{row} * g.width + column;
}

// Image rows [top, bottom) and columns [left, right) whose errors a tile adds up: those with the numbers of its
// windows, and behind the last windows the rest of the image. A tile's windows cover them all.
struct OwnPixels {
  int top, bottom, left, right;

  __device__ __forceinline__ bool has(int row, int column) const {
    return top <= row && row < bottom && left <= column && column < right;
  }
};

template <int kTileY>
__device__ __forceinline__ OwnPixels own_pixels(const Tile& tile, const SsimPlaces& g) {
  const int bottom = tile.top + kTileY, right = tile.left + kTileX;
  return {tile.top, bottom < g.rows ? bottom : g.height, tile.left, right < g.columns ? right : g.width};
}

// A thread owns kTileY / kThreadRows windows, one above the other.
template <bool kWantsMoments, bool kWantsError, int kTileY>
__global__ void __launch_bounds__(kTileThreads, kBlocksPerSm)
    ssim_tile_forward(const float* __restrict__ x, const float* __restrict__ y, SsimPlaces g,
                      const __grid_constant__ Taps taps, const __grid_constant__ Constants constants, int64_t power,
                      ForwardTarget target) {
  constexpr int kEach = kTileY / kThreadRows;
  constexpr int kRows = kTileY + kHalo, kColumns = kTileX + kHalo;
  __shared__ float2 pixels[kRows][kColumns];
  __shared__ float filtered[4][kRows][kTileX];
  __shared__ float of_warps[kWantsError ? kLossSums : kStatistics][kTileThreads / kWarpLanes];
  const int column = static_cast<int>(threadIdx.x), thread = static_cast<int>(threadIdx.y) * kTileX + column;
  const Tile tile = tile_of_block<kTileY>(g.rows, g.columns);

  // 1. The pixels under the tile's windows less the one in its middle, zeros outside the image; and the own ones'
  // errors.
  const int64_t plane = tile.plane * g.height * g.width;
  const int64_t middle = middle_of(plane, tile.top - g.before, tile.left - g.before, kRows, kColumns, g);
  const float2 shift = shift_of(x[middle], y[middle]);
  float error = 0.f;
  for (int i = thread; i < kRows * kColumns; i += kTileThreads) {
    const int row = tile.top - g.before + i / kColumns, at = tile.left - g.before + i % kColumns;
    const bool is_inside = 0 <= row && row < g.height && 0 <= at && at < g.width;
    const int64_t pixel = plane + int64_t{row} * g.width + at;
    const float u = is_inside ? x[pixel] : 0.f, v = is_inside ? y[pixel] : 0.f;
    pixels[i / kColumns][i % kColumns] = make_float2(u - shift.x, v - shift.y);
    if constexpr (kWantsError)
      if (is_inside && own_pixels<kTileY>(tile, g).has(row, at)) error += pixel_error(power, u - v);
  }
  if constexpr (kWantsError) keep_warp_sum(error, thread, of_warps[kStatistics]);
  __syncthreads();

  // 2. Filter along x.
  for (int row = static_cast<int>(threadIdx.y); row < kRows; row += kThreadRows) {
    Means sums{};
#pragma unroll
    for (int k = 0; k < kTaps; ++k) {
      const float2 pixel = pixels[row][column + k];
      sums.add(taps.weights[k], pixel.x, pixel.y);
    }
    filtered[0][row][column] = sums.x;
    filtered[1][row][column] = sums.y;
    filtered[2][row][column] = sums.square;
    filtered[3][row][column] = sums.difference;
  }
  __syncthreads();

  // 3. Filter along y: a row serves all the thread's windows.
  const int first = static_cast<int>(threadIdx.y) * kEach;
  float means[4][kEach] = {};
#pragma unroll
  for (int q = 0; q < 4; ++q)
#pragma unroll
    for (int k = 0; k < kTaps + kEach - 1; ++k) {
      const float value = filtered[q][first + k][column];
#pragma unroll
      for (int e = 0; e < kEach; ++e)
        if (k - e >= 0 && k - e < kTaps) means[q][e] += taps.weights[k - e] * value;
    }

  // 4. The index of each window, its derivatives, and the tile's sums.
  Statistics statistics{};
#pragma unroll
  for (int e = 0; e < kEach; ++e) {
    const int row = tile.top + first + e;
    if (row >= g.rows || tile.left + column >= g.columns) continue;
    const int64_t window = (tile.plane * g.rows + row) * g.columns + tile.left + column;
    const Moments m = Means{means[0][e], means[1][e], means[2][e], means[3][e]}.moments(shift);
    if constexpr (kWantsMoments)
      target.store_moments(m, g.planes * g.rows * g.columns, window);
    else
      target.store_index(m, constants, window, statistics);
  }
  if constexpr (!kWantsMoments) store_block_sums(statistics, thread, of_warps, target.block_sums);
}

// A pixel's gradient is that of the windows over it. A thread owns kEach pixels, one above the other.
template <bool kWantsBoth, bool kWantsError, int kTileY>
__global__ void __launch_bounds__(kTileThreads, kBlocksPerSm)
    ssim_tile_adjoint(const float* __restrict__ own, const float* __restrict__ other, SsimPlaces g,
                      const __grid_constant__ Taps taps, AdjointMaps maps, const float* __restrict__ scale,
                      float factor, int64_t power, float error_factor, float* __restrict__ grad_own,
                      float* __restrict__ grad_other) {
  constexpr int kMaps = kWantsBoth ? 4 : 3, kEach = kTileY / kThreadRows;
  constexpr int kRows = kTileY + kHalo, kColumns = kTileX + kHalo;
  __shared__ float windows[kMaps][kRows][kColumns];
  __shared__ float filtered[kMaps][kRows][kTileX];
  const int column = static_cast<int>(threadIdx.x), thread = static_cast<int>(threadIdx.y) * kTileX + column;
  const Tile tile = tile_of_block<kTileY>(g.height, g.width);

  // 1. The windows that hold the tile's pixels, zeros outside the map.
  const int64_t plane = tile.plane * g.rows * g.columns;
  for (int i = thread; i < kRows * kColumns; i += kTileThreads) {
    const int row = tile.top + g.before - kHalo + i / kColumns, at = tile.left + g.before - kHalo + i % kColumns;
    const bool is_inside = 0 <= row && row < g.rows && 0 <= at && at < g.columns;
    const int64_t window = plane + int64_t{row} * g.columns + at;
#pragma unroll
    for (int q = 0; q < kMaps; ++q) windows[q][i / kColumns][i % kColumns] = is_inside ? maps.of[q][window] : 0.f;
  }
  __syncthreads();

  // 2. Spread along x: the tile's column is under tap kHalo - k of the k-th window.
  for (int row = static_cast<int>(threadIdx.y); row < kRows; row += kThreadRows)
#pragma unroll
    for (int q = 0; q < kMaps; ++q) {
      float sum = 0.f;
#pragma unroll
      for (int k = 0; k < kTaps; ++k) sum += taps.weights[kHalo - k] * windows[q][row][column + k];
      filtered[q][row][column] = sum;
    }
  __syncthreads();

  // 3. Spread along y.
  const int first = static_cast<int>(threadIdx.y) * kEach;
  float sums[kMaps][kEach] = {};
#pragma unroll
  for (int q = 0; q < kMaps; ++q)
#pragma unroll
    for (int k = 0; k < kTaps + kEach - 1; ++k) {
      const float value = filtered[q][first + k][column];
#pragma unroll
      for (int e = 0; e < kEach; ++e)
        if (k - e >= 0 && k - e < kTaps) sums[q][e] += taps.weights[kHalo - (k - e)] * value;
    }

  // 4. d(x^2 + y^2)/dx = 2 x, d(x y)/dx = y.
  const float by = *scale * factor, by_error = *scale * error_factor;
#pragma unroll
  for (int e = 0; e < kEach; ++e) {
    const int row = tile.top + first + e;
    if (row >= g.height || tile.left + column >= g.width) continue;
    const int64_t pixel = (tile.plane * g.height + row) * g.width + tile.left + column;
    const float u = own[pixel], v = other[pixel];
    float of_own = by * (sums[2][e] + 2.f * u * sums[0][e] + v * sums[1][e]);
    if constexpr (kWantsError) of_own += by_error * slope_of_error(power, u - v);
    grad_own[pixel] = of_own;
    if constexpr (kWantsBoth) {
      float of_other = by * (sums[3][e] + 2.f * v * sums[0][e] + u * sums[1][e]);
      if constexpr (kWantsError) of_other -= by_error * slope_of_error(power, u - v);
      grad_other[pixel] = of_other;
    }
  }
}

}  // namespace
}  // namespace nerf_ssim
