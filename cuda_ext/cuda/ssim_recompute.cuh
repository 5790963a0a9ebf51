// The gradient of mean SSIM under the 11x11 window at stride 1 without anything saved by the forward pass: a block
// computes the windows over its tile of pixels again, in shared memory, and reads eight bytes a pixel and halo instead
// of maps.
#pragma once

#include "ssim_tile.cuh"

namespace nerf_ssim {
namespace {

constexpr int kRecomputeRows = 16;  // of a tile: one pixel a thread

// A thread owns one pixel of the tile; the larger intermediate tiles are shared out among all threads.
template <bool kWantsBoth>
__global__ void __launch_bounds__(kTileThreads, kWantsBoth&& kBlocksPerSm > 3 ? 3 : kBlocksPerSm)
    ssim_tile_recompute(const float* __restrict__ own, const float* __restrict__ other, SsimPlaces g,
                        const __grid_constant__ Taps taps, const __grid_constant__ Constants constants,
                        const float* __restrict__ scale, float factor, float* __restrict__ grad_own,
                        float* __restrict__ grad_other) {
  constexpr int kMaps = kWantsBoth ? 4 : 3;
  constexpr int kRows = kRecomputeRows + kHalo, kColumns = kTileX + kHalo;     // windows over the tile
  constexpr int kPixelRows = kRows + kHalo, kPixelColumns = kColumns + kHalo;  // pixels under those
  // Each pair is never alive at once: pixels until step 2, derivatives from step 3; likewise the filtered rows.
  __shared__ union {
    float2 pixels[kPixelRows][kPixelColumns];
    float derivatives[kMaps][kRows][kColumns];
  } tile;
  __shared__ union {
    float means[4][kPixelRows][kColumns];
    float spread[kMaps][kRows][kTileX];
  } filtered;
  const int column = static_cast<int>(threadIdx.x), thread = static_cast<int>(threadIdx.y) * kTileX + column;
  const Tile block = tile_of_block<kRecomputeRows>(g.height, g.width);

  // 1. The pixels less the one in their middle, zeros outside the image.
  const int64_t plane = block.plane * g.height * g.width;
  const int64_t middle = middle_of(plane, block.top - kHalo, block.left - kHalo, kPixelRows, kPixelColumns, g);
  const float2 shift = shift_of(own[middle], other[middle]);
  for (int i = thread; i < kPixelRows * kPixelColumns; i += kTileThreads) {
    const int row = block.top - kHalo + i / kPixelColumns, at = block.left - kHalo + i % kPixelColumns;
    const bool is_inside = 0 <= row && row < g.height && 0 <= at && at < g.width;
    const int64_t pixel = plane + int64_t{row} * g.width + at;
    tile.pixels[i / kPixelColumns][i % kPixelColumns] =
        is_inside ? make_float2(own[pixel] - shift.x, other[pixel] - shift.y) : make_float2(-shift.x, -shift.y);
  }
  __syncthreads();

  // 2. Filter along x.
  for (int i = thread; i < kPixelRows * kColumns; i += kTileThreads) {
    const int row = i / kColumns, at = i % kColumns;
    Means sums{};
#pragma unroll
    for (int k = 0; k < kTaps; ++k) sums.add(taps.weights[k], tile.pixels[row][at + k].x, tile.pixels[row][at + k].y);
    filtered.means[0][row][at] = sums.x;
    filtered.means[1][row][at] = sums.y;
    filtered.means[2][row][at] = sums.square;
    filtered.means[3][row][at] = sums.difference;
  }
  __syncthreads();

  // 3. Filter along y: the derivatives of each window, zeros outside the map.
  for (int i = thread; i < kRows * kColumns; i += kTileThreads) {
    const int row = i / kColumns, at = i % kColumns;
    const int map_row = block.top + g.before - kHalo + row, map_column = block.left + g.before - kHalo + at;
    const bool is_window = 0 <= map_row && map_row < g.rows && 0 <= map_column && map_column < g.columns;
    float means[4] = {};
#pragma unroll
    for (int q = 0; q < 4; ++q)
#pragma unroll
      for (int k = 0; k < kTaps; ++k) means[q] += taps.weights[k] * filtered.means[q][row + k][at];
    const Moments m = Means{means[0], means[1], means[2], means[3]}.moments(shift);
    const Similarity s = similarity(m, constants);
    tile.derivatives[0][row][at] = is_window ? by_square(s) : 0.f;
    tile.derivatives[1][row][at] = is_window ? by_product(s) : 0.f;
    tile.derivatives[2][row][at] = is_window ? by_mean(s, m.mean_x, m.mean_y) : 0.f;
    if constexpr (kWantsBoth) tile.derivatives[3][row][at] = is_window ? by_mean(s, m.mean_y, m.mean_x) : 0.f;
  }
  __syncthreads();

  // 4. Spread along x.
  for (int row = static_cast<int>(threadIdx.y); row < kRows; row += kThreadRows)
#pragma unroll
    for (int q = 0; q < kMaps; ++q) {
      float sum = 0.f;
#pragma unroll
      for (int k = 0; k < kTaps; ++k) sum += taps.weights[kHalo - k] * tile.derivatives[q][row][column + k];
      filtered.spread[q][row][column] = sum;
    }
  __syncthreads();

  // 5. Spread along y. d(x^2 + y^2)/dx = 2 x, d(x y)/dx = y.
  const int row = block.top + static_cast<int>(threadIdx.y);
  if (row >= g.height || block.left + column >= g.width) return;
  float sums[kMaps] = {};
#pragma unroll
  for (int q = 0; q < kMaps; ++q)
#pragma unroll
    for (int k = 0; k < kTaps; ++k) sums[q] += taps.weights[kHalo - k] * filtered.spread[q][threadIdx.y + k][column];
  const int64_t pixel = plane + int64_t{row} * g.width + block.left + column;
  const float u = own[pixel], v = other[pixel], by = *scale * factor;
  grad_own[pixel] = by * (sums[2] + 2.f * u * sums[0] + v * sums[1]);
  if constexpr (kWantsBoth) grad_other[pixel] = by * (sums[3] + 2.f * v * sums[0] + u * sums[1]);
}

}  // namespace
}  // namespace nerf_ssim
