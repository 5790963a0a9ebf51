// Whole-plane operations: a block owns rows of the plane, its threads go along them a chunk of channels at a time.
#include "../include/planes.h"

#include <algorithm>

#include "chunks.cuh"
#include "launch.h"
#include "warp.cuh"

namespace nerf_ssim {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksAtOnce = 4;  // on a multiprocessor: at most 64 registers a thread

__host__ __device__ __forceinline__ int64_t row_of(const Plane& plane) { return plane.n_u * plane.channels; }

// What a difference along either side counts: two over their number, at least one so that it divides.
struct TvFactors {
  float along_v[kMostPlanes], along_u[kMostPlanes];
};

Plane plane_of(const Planes& planes, int64_t index) {
  return {planes.values[index], planes.n_v[index], planes.n_u[index], planes.channels[index]};
}

TvFactors tv_factors(const Planes& planes) {
  const auto inverse = [](int64_t count) {
    return static_cast<float>(2.0 / static_cast<double>(std::max<int64_t>(1, count)));
  };
  TvFactors factors{};
  for (int64_t p = 0; p < planes.count; ++p) {
    const Plane plane = plane_of(planes, p);
    factors.along_v[p] = inverse((plane.n_v - 1) * row_of(plane));
    factors.along_u[p] = inverse(plane.n_v * (plane.n_u - 1) * plane.channels);
  }
  return factors;
}

template <int kWidth>
__device__ __forceinline__ float squared_difference(const Chunk<kWidth>& a, const Chunk<kWidth>& b) {
  float sum = 0.0f;
  for (int i = 0; i < kWidth; ++i) sum += (b.at[i] - a.at[i]) * (b.at[i] - a.at[i]);
  return sum;
}

// The block's plane, which is its place along y, in registers.
__device__ __forceinline__ Plane own_plane(const Planes& planes) {
  const unsigned p = blockIdx.y;
  return {planes.values[p], planes.n_v[p], planes.n_u[p], planes.channels[p]};
}

// A block owns every gridDim.x-th row of its plane, one thread every kThreads-th chunk of them, each with the
// neighbours at larger u and v.
template <int kWidth>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    planes_tv(const __grid_constant__ Planes planes, const __grid_constant__ TvFactors factors, float* partial_sums) {
  // 1. squared differences of the thread's chunks
  const Plane plane = own_plane(planes);
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
  const float mine = factors.along_u[blockIdx.y] * along_u + factors.along_v[blockIdx.y] * along_v;
  const float sum = block_sum<kThreads>(mine, of_warps, static_cast<int>(threadIdx.x));
  if (threadIdx.x == 0) partial_sums[blockIdx.y * kPlaneTvPartialSums + blockIdx.x] = sum;
}

// One block adds the partial sums of all others, plane by plane, each of its threads every kThreads-th of a plane's.
__global__ void __launch_bounds__(kThreads) add_planes(const float* partial_sums, int64_t blocks, int64_t planes,
                                                       float first_factor, float second_factor, float* out) {
  __shared__ float of_warps[kThreads / kWarpLanes];
  float total = 0.0f;
  for (int64_t p = 0; p < planes; ++p) {
    float mine = 0.0f;
    for (int64_t i = threadIdx.x; i < blocks; i += kThreads) mine += partial_sums[p * kPlaneTvPartialSums + i];
    const float sum = block_sum<kThreads>(mine, of_warps, static_cast<int>(threadIdx.x));
    total = p == 0 ? sum : __fadd_rn(total, sum);
    __syncthreads();  // before the warps' sums are written anew
  }
  if (threadIdx.x == 0) out[0] = __fmul_rn(__fmul_rn(total, first_factor), second_factor);
}

template <int kWidth>
__device__ __forceinline__ void pull(const Chunk<kWidth>& here, const Chunk<kWidth>& neighbour, float factor,
                                     Chunk<kWidth>& gradient) {
  for (int i = 0; i < kWidth; ++i) gradient.at[i] += factor * (here.at[i] - neighbour.at[i]);
}

// Blocks and threads own what they own in planes_tv: here the gradient of their chunks, which the neighbours on all
// four sides pull at.
template <int kWidth>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    planes_tv_backward(const __grid_constant__ Planes planes, const __grid_constant__ TvFactors factors,
                       const float* upstream, const __grid_constant__ PlaneGradients gradients) {
  const Plane plane = own_plane(planes);
  float* const gradient = gradients.values[blockIdx.y];
  const float scale = __fmul_rn(__fmul_rn(*upstream, planes.second_factor), planes.first_factor);
  const float of_u = 2.0f * factors.along_u[blockIdx.y] * scale, of_v = 2.0f * factors.along_v[blockIdx.y] * scale;
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

int64_t most_rows(const Planes& planes) {
  return planes.count == 0 ? 0 : *std::max_element(planes.n_v, planes.n_v + planes.count);
}

bool come_in_fours(const Planes& planes, const PlaneGradients& gradients) {
  bool in_fours = true;
  for (int64_t p = 0; p < planes.count; ++p)
    in_fours &= comes_in_fours(planes.channels[p], planes.values[p], gradients.values[p]);
  return in_fours;
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
__global__ void __launch_bounds__(kThreads)
    resize_plane(Plane plane, int64_t to_v, int64_t to_u, float step_v, float step_u, float* out) {
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

int launch_planes_tv(const Planes& planes, float* partial_sums, float* out, cudaStream_t stream) {
  const int64_t rows = std::clamp<int64_t>(most_rows(planes), 1, kPlaneTvPartialSums);
  const auto kernel = come_in_fours(planes, {}) ? planes_tv<4> : planes_tv<1>;
  const dim3 grid(blocks_for(rows, 1), static_cast<unsigned>(std::max<int64_t>(1, planes.count)));
  if (planes.count > 0)
    if (const cudaError_t error =
            NERF_SSIM_LAUNCH(kernel, grid, kThreads, stream, planes, tv_factors(planes), partial_sums))
      return error;
  return NERF_SSIM_LAUNCH(add_planes, 1, kThreads, stream, partial_sums, rows, planes.count, planes.first_factor,
                          planes.second_factor, out);
}

int launch_planes_tv_backward(const Planes& planes, const float* scale, const PlaneGradients& gradients,
                              cudaStream_t stream) {
  if (most_rows(planes) == 0) return cudaSuccess;
  const auto kernel = come_in_fours(planes, gradients) ? planes_tv_backward<4> : planes_tv_backward<1>;
  const dim3 grid(blocks_for(most_rows(planes), 1), static_cast<unsigned>(planes.count));
  return NERF_SSIM_LAUNCH(kernel, grid, kThreads, stream, planes, tv_factors(planes), scale, gradients);
}

int launch_resize_plane(const Plane& plane, int64_t n_v, int64_t n_u, float* out, cudaStream_t stream) {
  if (n_v * n_u * plane.channels == 0) return cudaSuccess;
  const auto kernel = comes_in_fours(plane.channels, plane.values, out) ? resize_plane<4> : resize_plane<1>;
  return NERF_SSIM_LAUNCH(kernel, blocks_for(n_v, 1), kThreads, stream, plane, n_v, n_u, step_between(plane.n_v, n_v),
                          step_between(plane.n_u, n_u), out);
}

}  // namespace nerf_ssim
