// Whole-plane operations: a block owns rows of the plane, its threads go along them a chunk of channels at a time.
#include "../include/planes.h"

#include <algorithm>

#include "chunks.cuh"
#include "launch.h"
#include "warp.cuh"

namespace nerf_ssim {
namespace {

constexpr int kThreads = 256;

__host__ __device__ __forceinline__ int64_t row_of(const Plane& plane) { return plane.n_u * plane.channels; }

// What a difference along either side counts: two over their number, at least one so that it divides.
struct TvFactors {
  float along_v, along_u;
};

TvFactors tv_factors(const Plane& plane) {
  const auto inverse = [](int64_t count) {
    return static_cast<float>(2.0 / static_cast<double>(std::max<int64_t>(1, count)));
  };
  return {inverse((plane.n_v - 1) * row_of(plane)), inverse(plane.n_v * (plane.n_u - 1) * plane.channels)};
}

template <int kWidth>
__device__ __forceinline__ float squared_difference(const Chunk<kWidth>& a, const Chunk<kWidth>& b) {
  float sum = 0.0f;
  for (int i = 0; i < kWidth; ++i) sum += (b.at[i] - a.at[i]) * (b.at[i] - a.at[i]);
  return sum;
}

// One thread owns every kThreads-th chunk of its block's rows, each with the neighbours at larger u and v.
template <int kWidth>
__global__ void __launch_bounds__(kThreads) plane_tv(Plane plane, TvFactors factors, float* partial_sums) {
  // 1. squared differences of the thread's chunks
  const int64_t row = row_of(plane);
  float along_u = 0.0f, along_v = 0.0f;
  for (int64_t v = blockIdx.x; v < plane.n_v; v += gridDim.x)
    for (int64_t i = threadIdx.x * kWidth; i < row; i += kThreads * kWidth) {
      const float* at = plane.values + v * row + i;
      const Chunk<kWidth> here = load<kWidth>(at);
      if (i + plane.channels < row) along_u += squared_difference(here, load<kWidth>(at + plane.channels));
      if (v + 1 < plane.n_v) along_v += squared_difference(here, load<kWidth>(at + row));
    }
  // 2. one number a block
  __shared__ float of_warps[kThreads / kWarpLanes];
  const float mine = factors.along_u * along_u + factors.along_v * along_v;
  const float sum = block_sum<kThreads>(mine, of_warps, static_cast<int>(threadIdx.x));
  if (threadIdx.x == 0) partial_sums[blockIdx.x] = sum;
}

// One block adds the partial sums of all others, each of its threads every kThreads-th.
__global__ void __launch_bounds__(kThreads) add_partial_sums(const float* partial_sums, int64_t count, float* out) {
  float mine = 0.0f;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) mine += partial_sums[i];
  __shared__ float of_warps[kThreads / kWarpLanes];
  const float sum = block_sum<kThreads>(mine, of_warps, static_cast<int>(threadIdx.x));
  if (threadIdx.x == 0) out[0] = sum;
}

template <int kWidth>
__device__ __forceinline__ void pull(
    const Chunk<kWidth>& here, const Chunk<kWidth>& neighbour, float factor, Chunk<kWidth>& gradient) {
  for (int i = 0; i < kWidth; ++i) gradient.at[i] += factor * (here.at[i] - neighbour.at[i]);
}

// One thread owns the gradient of its chunks, which the neighbours on all four sides pull at.
template <int kWidth>
__global__ void __launch_bounds__(kThreads) plane_tv_backward(
    Plane plane, TvFactors factors, const float* scale, float* gradient) {
  const float of_u = 2.0f * factors.along_u * *scale, of_v = 2.0f * factors.along_v * *scale;
  const int64_t row = row_of(plane);
  for (int64_t v = blockIdx.x; v < plane.n_v; v += gridDim.x)
    for (int64_t i = threadIdx.x * kWidth; i < row; i += kThreads * kWidth) {
      const float* at = plane.values + v * row + i;
      const Chunk<kWidth> here = load<kWidth>(at);
      Chunk<kWidth> sum{};
      if (i >= plane.channels) pull(here, load<kWidth>(at - plane.channels), of_u, sum);
      if (i + plane.channels < row) pull(here, load<kWidth>(at + plane.channels), of_u, sum);
      if (v > 0) pull(here, load<kWidth>(at - row), of_v, sum);
      if (v + 1 < plane.n_v) pull(here, load<kWidth>(at + row), of_v, sum);
      store(gradient + v * row + i, sum);
    }
}

// The two nodes around a place of the new grid along one side, and the weight of the farther one.
struct Between {
  int64_t near, far;
  float fraction;
};

__device__ __forceinline__ Between between(int64_t place, float step, int64_t nodes) {
  const float position = __fmul_rn(step, static_cast<float>(place));  // not fused: `near` and `fraction` must agree
  const int64_t near = min(static_cast<int64_t>(position), nodes - 1);
  return {near, min(near + 1, nodes - 1), position - static_cast<float>(near)};
}

// One thread owns every kThreads-th chunk of a new row.
template <int kWidth>
__global__ void __launch_bounds__(kThreads) resize_plane(
    Plane plane, int64_t to_v, int64_t to_u, float step_v, float step_u, float* out) {
  const int64_t row = row_of(plane), to_row = to_u * plane.channels;
  for (int64_t v = blockIdx.x; v < to_v; v += gridDim.x) {
    const Between rows = between(v, step_v, plane.n_v);
    for (int64_t i = threadIdx.x * kWidth; i < to_row; i += kThreads * kWidth) {
      const int64_t u = i / plane.channels;
      const Between columns = between(u, step_u, plane.n_u);
      const float* channel = plane.values + (i - u * plane.channels);
      const float* near_row = channel + rows.near * row;
      const float* far_row = channel + rows.far * row;
      const Chunk<kWidth> a = load<kWidth>(near_row + columns.near * plane.channels);
      const Chunk<kWidth> b = load<kWidth>(near_row + columns.far * plane.channels);
      const Chunk<kWidth> c = load<kWidth>(far_row + columns.near * plane.channels);
      const Chunk<kWidth> d = load<kWidth>(far_row + columns.far * plane.channels);
      Chunk<kWidth> value;
      for (int k = 0; k < kWidth; ++k) {
        const float near = (1.0f - columns.fraction) * a.at[k] + columns.fraction * b.at[k];
        const float far = (1.0f - columns.fraction) * c.at[k] + columns.fraction * d.at[k];
        value.at[k] = (1.0f - rows.fraction) * near + rows.fraction * far;
      }
      store(out + v * to_row + i, value);
    }
  }
}

float step_between(int64_t nodes, int64_t places) {
  return places > 1 ? static_cast<float>(nodes - 1) / static_cast<float>(places - 1) : 0.0f;
}

}  // namespace

int launch_plane_tv(const Plane& plane, float* partial_sums, float* out, cudaStream_t stream) {
  const int64_t blocks = std::clamp<int64_t>(plane.n_v, 1, kPlaneTvPartialSums);
  const auto kernel = comes_in_fours(plane.channels, plane.values) ? plane_tv<4> : plane_tv<1>;
  if (const cudaError_t error = NERF_SSIM_LAUNCH(
          kernel, blocks_for(blocks, 1), kThreads, stream, plane, tv_factors(plane), partial_sums))
    return error;
  return NERF_SSIM_LAUNCH(add_partial_sums, 1, kThreads, stream, partial_sums, blocks, out);
}

int launch_plane_tv_backward(const Plane& plane, const float* scale, float* gradient, cudaStream_t stream) {
  if (plane.n_v * row_of(plane) == 0) return cudaSuccess;
  const bool in_fours = comes_in_fours(plane.channels, plane.values, gradient);
  const auto kernel = in_fours ? plane_tv_backward<4> : plane_tv_backward<1>;
  return NERF_SSIM_LAUNCH(
      kernel, blocks_for(plane.n_v, 1), kThreads, stream, plane, tv_factors(plane), scale, gradient);
}

int launch_resize_plane(const Plane& plane, int64_t n_v, int64_t n_u, float* out, cudaStream_t stream) {
  if (n_v * n_u * plane.channels == 0) return cudaSuccess;
  const auto kernel = comes_in_fours(plane.channels, plane.values, out) ? resize_plane<4> : resize_plane<1>;
  return NERF_SSIM_LAUNCH(
      kernel, blocks_for(n_v, 1), kThreads, stream, plane, n_v, n_u, step_between(plane.n_v, n_v),
      step_between(plane.n_u, n_u), out);
}

}  // namespace nerf_ssim
