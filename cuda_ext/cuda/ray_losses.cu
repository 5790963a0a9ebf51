// Losses that are a mean of one number a ray or a sample. Sums over blocks go to scratch memory that one more block
// adds in a fixed order, so there are no atomics.
#include "../include/ray_losses.h"

#include <algorithm>

#include "launch.h"
#include "warp.cuh"

namespace nerf_ssim {
namespace {

constexpr int kThreads = 256;

// A probability kept away from 0 and 1, as torch.clamp does: a NaN stays one.
__device__ __forceinline__ float sure(float p) {
  return p < kSureLight ? kSureLight : p > 1.0f - kSureLight ? 1.0f - kSureLight : p;
}

__device__ __forceinline__ float squared_error(const ColouredPoints& points, int64_t sample, int64_t ray) {
  float error = 0.0f;
  for (int channel = 0; channel < 3; ++channel) {
    const float difference = points.rgb[3 * sample + channel] - points.target[3 * ray + channel];
    error += difference * difference;
  }
  return error;
}

// The sum over all blocks' items: each thread takes every so many, value_of(item) of each.
template <class Value>
__device__ __forceinline__ void sum_items(int64_t items, float* partial_sums, const Value& value_of) {
  float mine = 0.0f;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < items; i += int64_t{gridDim.x} * kThreads)
    mine += value_of(i);
  __shared__ float of_warps[kThreads / kWarpLanes];
  const float sum = block_sum<kThreads>(mine, of_warps, static_cast<int>(threadIdx.x));
  if (threadIdx.x == 0) partial_sums[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads) light_entropy(const float* light, int64_t count, float* partial_sums) {
  sum_items(count, partial_sums, [&](int64_t ray) {
    const float p = sure(light[ray]);
    return -(p * logf(p) + (1.0f - p) * logf(1.0f - p));
  });
}

__global__ void __launch_bounds__(kThreads) point_error(ColouredPoints points, float* partial_sums) {
  sum_items(points.samples, partial_sums, [&](int64_t sample) {
    const int64_t ray = points.ray_index[sample];
    const bool is_ray = ray >= 0 && ray < points.rays;
    return is_ray ? squared_error(points, sample, ray) * points.weights[sample] : 0.0f;
  });
}

// One block adds the blocks' sums and divides.
__global__ void __launch_bounds__(kThreads)
    divided_sum(const float* partial_sums, int64_t blocks, float divisor, float* out) {
  float mine = 0.0f;
  for (int64_t i = threadIdx.x; i < blocks; i += kThreads) mine += partial_sums[i];
  __shared__ float of_warps[kThreads / kWarpLanes];
  const float sum = block_sum<kThreads>(mine, of_warps, static_cast<int>(threadIdx.x));
  if (threadIdx.x == 0) out[0] = sum / divisor;
}

// One thread owns a ray. Where the probability was clamped, nothing pulls at it.
__global__ void __launch_bounds__(kThreads)
    light_entropy_backward(const float* light, int64_t count, const float* scale, float* gradient) {
  const int64_t ray = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (ray >= count) return;
  const float p = light[ray];
  const bool is_clamped = p < kSureLight || p > 1.0f - kSureLight;
  gradient[ray] = is_clamped ? 0.0f : *scale / static_cast<float>(count) * (logf(1.0f - p) - logf(p));
}

// One thread owns a sample.
__global__ void __launch_bounds__(kThreads)
    point_error_backward(ColouredPoints points, const float* scale, float* gradient) {
  const int64_t sample = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (sample >= points.samples) return;
  const int64_t ray = points.ray_index[sample];
  const bool is_ray = ray >= 0 && ray < points.rays;
  const float factor = 2.0f * (*scale / static_cast<float>(points.rays)) * points.weights[sample];
  for (int channel = 0; channel < 3; ++channel)
    gradient[3 * sample + channel] =
        is_ray ? factor * (points.rgb[3 * sample + channel] - points.target[3 * ray + channel]) : 0.0f;
}

int64_t blocks_of_sum(int64_t items) {
  return std::clamp<int64_t>(ceil_divide(items, kThreads), 1, kRayLossPartialSums);
}

int add_up(const float* partial_sums, int64_t items, int64_t divisor, float* out, cudaStream_t stream) {
  return NERF_SSIM_LAUNCH(divided_sum, 1, kThreads, stream, partial_sums, blocks_of_sum(items),
                          static_cast<float>(divisor), out);
}

}  // namespace

int launch_light_entropy(const float* light, int64_t count, float* partial_sums, float* out, cudaStream_t stream) {
  const int64_t blocks = blocks_of_sum(count);
  if (const cudaError_t error =
          NERF_SSIM_LAUNCH(light_entropy, blocks_for(blocks, 1), kThreads, stream, light, count, partial_sums))
    return error;
  return add_up(partial_sums, count, count, out, stream);
}

int launch_light_entropy_backward(const float* light, int64_t count, const float* scale, float* gradient,
                                  cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  return NERF_SSIM_LAUNCH(light_entropy_backward, blocks_for(count, kThreads), kThreads, stream, light, count, scale,
                          gradient);
}

int launch_point_error(const ColouredPoints& points, float* partial_sums, float* out, cudaStream_t stream) {
  const int64_t blocks = blocks_of_sum(points.samples);
  if (const cudaError_t error =
          NERF_SSIM_LAUNCH(point_error, blocks_for(blocks, 1), kThreads, stream, points, partial_sums))
    return error;
  return add_up(partial_sums, points.samples, points.rays, out, stream);
}

int launch_point_error_backward(const ColouredPoints& points, const float* scale, float* gradient,
                                cudaStream_t stream) {
  if (points.samples == 0) return cudaSuccess;
  return NERF_SSIM_LAUNCH(point_error_backward, blocks_for(points.samples, kThreads), kThreads, stream, points, scale,
                          gradient);
}

}  // namespace nerf_ssim
