// S3IM fused with its gather, value and gradient in one pass: the loss is one number, so that its gradient can be made
// at once and scaled later.
#include "../include/s3im.h"

#include "ssim_index.cuh"

namespace nerf_ssim {
namespace {

constexpr int kThreads = 128;  // few, because a batch has few windows: 60 blocks for 64x640 pixels in three channels

struct S3imPlaces {
  int64_t rays, pixels, rows;
  int height, width, columns, channels, size, stride, padding;
};

// A row of windows is shared out among so many blocks.
__host__ __device__ __forceinline__ int blocks_of_row(int columns, int channels) {
  return (columns * channels + kThreads - 1) / kThreads;
}

// The taps of a window that lie inside the image, along one axis.
struct Inside {
  int start;  // image row or column of tap 0, which may be outside
  int first, last;

  __device__ __forceinline__ Inside(int window, int stride, int padding, int size, int length)
      : start(window * stride - padding), first(max(0, -start)), last(min(size, length - start)) {}
};

// Derivatives of a window's loss: mu_y, the mean of x^2 + y^2 and that of x y.
struct Derivatives {
  float mean, square, product;

  // What a pixel under weight w, with target u and rendered v, gets: d(x^2 + y^2)/dy = 2 y, d(x y)/dy = x.
  __device__ __forceinline__ float of_pixel(float w, float u, float v) const {
    return w * (mean + 2.f * square * v + product * u);
  }
};

// A thread owns one channel of a window; neighbours share the window, so that a ray's colours are read together. kSize
// is 4, with what that lets the compiler unroll, or 0 for g.size.
template <int kSize>
__global__ void __launch_bounds__(kThreads)
    s3im_windows(const float* __restrict__ rendered, const float* __restrict__ target,
                 const int64_t* __restrict__ orders, S3imPlaces g, const __grid_constant__ Taps taps,
                 const __grid_constant__ Constants constants, float scale, float* __restrict__ gradient,
                 float* __restrict__ derivatives, float* __restrict__ block_sums) {
  const int size = kSize > 0 ? kSize : g.size, blocks = blocks_of_row(g.columns, g.channels);
  const int row = static_cast<int>(blockIdx.x) / blocks, thread = static_cast<int>(threadIdx.x);
  const int place = static_cast<int>(blockIdx.x) % blocks * kThreads + thread;  // in the row
  __shared__ float of_warps[kStatistics][kThreads / kWarpLanes];
  Statistics statistics{};
  if (place < g.columns * g.channels) {
    const int channel = place % g.channels;
    const Inside down(row, g.stride, g.padding, size, g.height);
    const Inside along(place / g.channels, g.stride, g.padding, size, g.width);

    // 1. The window's moments. Colours are taken less the middle one's. A window that reaches outside holds zeros and
    // is not flat: its colours are taken as they are.
    const bool is_whole = down.first == 0 && along.first == 0 && down.last == size && along.last == size;
    const int64_t middle = is_whole ? orders[int64_t{down.start + size / 2} * g.width + along.start + size / 2] : -1;
    const bool is_shifted = 0 <= middle && middle < g.rays;
    const int64_t shown = is_shifted ? middle * g.channels + channel : 0;
    const float2 shift = is_shifted ? make_float2(target[shown], rendered[shown]) : make_float2(0.f, 0.f);
    Means means{};
#pragma unroll(kSize > 0 ? kSize : 1)
    for (int i = 0; i < size; ++i)
#pragma unroll(kSize > 0 ? kSize : 1)
      for (int j = 0; j < size; ++j) {
        if (i < down.first || i >= down.last || j < along.first || j >= along.last) continue;
        const int64_t ray = orders[int64_t{down.start + i} * g.width + along.start + j];
        const bool is_ray = 0 <= ray && ray < g.rays;
        const int64_t colour = ray * g.channels + channel;
        means.add(taps.weights[i] * taps.weights[j], is_ray ? target[colour] - shift.x : NAN,
                  is_ray ? rendered[colour] - shift.y : NAN);
      }
    const Moments m = means.moments(shift);

    // 2. Its index and derivatives.
    const Similarity s = similarity(m, constants);
    statistics.add(m, s);
    const Derivatives by = {scale * by_mean(s, m.mean_y, m.mean_x), scale * by_square(s), scale * by_product(s)};
    if (derivatives != nullptr) {
      const int64_t line = int64_t{g.columns} * g.channels, item = row * line + place, items = g.rows * line;
      derivatives[item] = by.mean;
      derivatives[items + item] = by.square;
      derivatives[2 * items + item] = by.product;
    }

    // 3. What it sends to its rays, which other windows show too.
#pragma unroll(kSize > 0 ? kSize : 1)
    for (int i = 0; gradient != nullptr && i < size; ++i)
#pragma unroll(kSize > 0 ? kSize : 1)
      for (int j = 0; j < size; ++j) {
        if (i < down.first || i >= down.last || j < along.first || j >= along.last) continue;
        const int64_t ray = orders[int64_t{down.start + i} * g.width + along.start + j];
        if (ray < 0 || ray >= g.rays) continue;
        const int64_t colour = ray * g.channels + channel;
        atomicAdd(&gradient[colour], by.of_pixel(taps.weights[i] * taps.weights[j], target[colour], rendered[colour]));
      }
  }
  store_block_sums(statistics, thread, of_warps, block_sums);
}

__device__ __forceinline__ int64_t first_at_least(const int64_t* __restrict__ sorted, int64_t n, int64_t value) {
  int64_t begin = 0, end = n;
  while (begin < end) {
    const int64_t middle = (begin + end) / 2;
    if (sorted[middle] < value)
      begin = middle + 1;
    else
      end = middle;
  }
  return begin;
}

// A thread owns one channel of a ray, and those a grid further on: it goes through the ray's pixels in their order, and
// through the windows over each.
__global__ void __launch_bounds__(kThreads)
    s3im_collect(const float* __restrict__ rendered, const float* __restrict__ target,
                 const int64_t* __restrict__ sorted_rays, const int64_t* __restrict__ positions, S3imPlaces g,
                 const __grid_constant__ Taps taps, const float* __restrict__ derivatives,
                 float* __restrict__ gradient) {
  const int64_t colours = g.rays * g.channels, items = g.rows * g.columns * g.channels;
  for (int64_t colour = int64_t{blockIdx.x} * kThreads + threadIdx.x; colour < colours;
       colour += int64_t{gridDim.x} * kThreads) {
    const int64_t ray = colour / g.channels, channel = colour % g.channels;
    const float u = target[colour], v = rendered[colour];
    float sum = 0.f;
    for (int64_t i = first_at_least(sorted_rays, g.pixels, ray); i < g.pixels && sorted_rays[i] == ray; ++i) {
      // The windows over the pixel, as in ssim_direct_adjoint.
      const int down = static_cast<int>(positions[i] / g.width) + g.padding;
      const int along = static_cast<int>(positions[i] % g.width) + g.padding;
      const int top = down < g.size ? 0 : (down - g.size) / g.stride + 1;
      const int bottom = min(down / g.stride, static_cast<int>(g.rows) - 1);
      const int left = along < g.size ? 0 : (along - g.size) / g.stride + 1;
      const int right = min(along / g.stride, g.columns - 1);
      for (int row = top; row <= bottom; ++row)
        for (int column = left; column <= right; ++column) {
          const int64_t item = (int64_t{row} * g.columns + column) * g.channels + channel;
          const Derivatives by = {derivatives[item], derivatives[items + item], derivatives[2 * items + item]};
          sum += by.of_pixel(taps.weights[down - row * g.stride] * taps.weights[along - column * g.stride], u, v);
        }
    }
    gradient[colour] = sum;
  }
}

S3imPlaces places(const S3imGeometry& s) {
  const auto narrow = [](int64_t value) { return static_cast<int>(value); };
  const SsimGeometry& g = s.windows;
  return {s.rays,
          g.height * g.width,
          g.rows,
          narrow(g.height),
          narrow(g.width),
          narrow(g.columns),
          narrow(s.channels),
          narrow(g.taps),
          narrow(g.stride),
          narrow(g.before)};
}

// Sides, windows of a row and blocks are kept in 32 bits; numbers of rays and pixels are not.
bool fits(const S3imGeometry& s, int64_t blocks) {
  constexpr int64_t kMost = 0x7FFFFFFF - 2 * kThreads;
  const SsimGeometry& g = s.windows;
  return g.height <= kMost && g.width * s.channels <= kMost && g.stride <= kMost && blocks <= kMostBlocks;
}

}  // namespace

int64_t s3im_blocks(const S3imGeometry& s) {
  return s.windows.rows * ceil_divide(s.windows.columns * s.channels, kThreads);
}

int launch_s3im(const S3imGeometry& s, const float* rendered, const float* target, float* gradient, float* derivatives,
                float* block_sums, float* loss, float* statistics, cudaStream_t stream) {
  const int64_t blocks = s3im_blocks(s);
  if (!fits(s, blocks)) return cudaErrorInvalidConfiguration;
  const SsimGeometry& windows = s.windows;
  const auto count = static_cast<float>(windows.rows * windows.columns * s.channels);
  const auto kernel = windows.taps == 4 ? s3im_windows<4> : s3im_windows<0>;
  const cudaError_t error =
      NERF_SSIM_LAUNCH(kernel, static_cast<unsigned>(blocks), kThreads, stream, rendered, target, s.orders, places(s),
                       taps_of(windows), constants_of(windows), -1.f / count, gradient, derivatives, block_sums);
  if (error != cudaSuccess) return error;
  const Combination of_means = {windows.mix, count, 1.f, total_of(windows.mix), -1.f, 0.f};
  return NERF_SSIM_LAUNCH(mean_of_blocks<kStatistics>, 1, kMeanThreads, stream, block_sums, blocks, of_means, loss,
                          statistics);
}

int launch_s3im_collect(const S3imGeometry& s, const float* rendered, const float* target, const int64_t* sorted_rays,
                        const int64_t* positions, const float* derivatives, float* gradient, cudaStream_t stream) {
  if (!fits(s, 1)) return cudaErrorInvalidConfiguration;
  return NERF_SSIM_LAUNCH(s3im_collect, blocks_for(s.rays * s.channels, kThreads), kThreads, stream, rendered, target,
                          sorted_rays, positions, places(s), taps_of(s.windows), derivatives, gradient);
}

}  // namespace nerf_ssim
