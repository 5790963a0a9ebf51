// Volume compositing: a warp owns a ray and takes its samples 32 at a time, one a lane.
#include "../include/compositing.h"

#include "launch.h"
#include "segments.cuh"
#include "warp.cuh"

namespace nerf_ssim {
namespace {

constexpr int kThreads = 256;
constexpr int kRaysPerBlock = kThreads / kWarpLanes;
constexpr float kFactorFloor = 1e-10f;  // TensoRF's: a fully opaque sample leaves a trace of light

// The samples of a ray, kept inside the arrays whatever the offsets say.
struct Range {
  int64_t begin, end;
};

__device__ __forceinline__ int64_t ray_of_warp() { return (int64_t{blockIdx.x} * kThreads + threadIdx.x) / kWarpLanes; }

__device__ __forceinline__ Range range_of(const RaySamples& samples, int64_t ray) {
  return {max(samples.offsets[ray], int64_t{0}), min(samples.offsets[ray + 1], samples.samples)};
}

__device__ __forceinline__ float alpha_of(const RaySamples& samples, int64_t s) {
  return -expm1f(-samples.sigma[s] * samples.delta[s] * samples.distance_scale);
}

__global__ void __launch_bounds__(kThreads)
    composite(RaySamples samples, float* weights, float* opacity, float* transmittance) {
  const int64_t ray = ray_of_warp();
  const int lane = threadIdx.x % kWarpLanes;
  if (ray >= samples.rays) return;  // a whole warp
  const Range range = range_of(samples, ray);
  float light = 1.0f, sum = 0.0f;
  for (int64_t first = range.begin; first < range.end; first += kWarpLanes) {
    // 1. each lane's opacity; lanes beyond the ray's end are clear
    const int64_t s = first + lane;
    const float alpha = s < range.end ? alpha_of(samples, s) : 0.0f;
    // 2. product of the lanes' factors, this one's included
    float passed = 1.0f - alpha + kFactorFloor;
    for (int offset = 1; offset < kWarpLanes; offset *= 2) {
      const float earlier = __shfl_up_sync(kWholeWarp, passed, offset);
      if (lane >= offset) passed *= earlier;
    }
    // 3. light that reaches the sample, and what it takes of it
    const float passed_before = __shfl_up_sync(kWholeWarp, passed, 1);
    const float reaching = lane == 0 ? light : light * passed_before;
    if (s < range.end) {
      transmittance[s] = reaching;
      weights[s] = alpha * reaching;
    }
    sum += alpha * reaching;
    light *= __shfl_sync(kWholeWarp, passed, kWarpLanes - 1);
  }
  sum = warp_sum(sum);
  if (lane == 0) opacity[ray] = sum;
}

// Goes along the ray from its end. What the later samples pull at a sample's light, `later`, is an affine function of
// what the samples after it pull: later_before = factor * later + own. A warp composes 32 of these functions.
__global__ void __launch_bounds__(kThreads)
    composite_backward(RaySamples samples, const float* transmittance, const float* grad_weights,
                       const float* grad_opacity, const float* grad_transmittance, float* grad_sigma) {
  const int64_t ray = ray_of_warp();
  const int lane = threadIdx.x % kWarpLanes;
  if (ray >= samples.rays) return;  // a whole warp
  const Range range = range_of(samples, ray);
  const float from_opacity = grad_opacity ? grad_opacity[ray] : 0.0f;
  float carried = 0.0f;  // d loss / d transmittance of the sample after this run of lanes
  for (int64_t end = range.end; end > range.begin; end -= kWarpLanes) {
    // 1. lane 0 has the farthest sample; lanes beyond the ray's start are clear and want nothing
    const int64_t s = end - 1 - lane;
    const bool is_sample = s >= range.begin;
    const float alpha = is_sample ? alpha_of(samples, s) : 0.0f;
    const float to_weight = is_sample ? (grad_weights ? grad_weights[s] : 0.0f) + from_opacity : 0.0f;
    // 2. the lane's function and those of the farther lanes, composed
    float factor = 1.0f - alpha + kFactorFloor;
    float own = to_weight * alpha + (is_sample && grad_transmittance ? grad_transmittance[s] : 0.0f);
    for (int offset = 1; offset < kWarpLanes; offset *= 2) {
      const float farther_factor = __shfl_up_sync(kWholeWarp, factor, offset);
      const float farther_own = __shfl_up_sync(kWholeWarp, own, offset);
      if (lane >= offset) {
        own += factor * farther_own;
        factor *= farther_factor;
      }
    }
    // 3. the gradient of the opacity, and through it of the density
    const float before = factor * carried + own;  // d loss / d transmittance of this very sample
    const float farther = __shfl_up_sync(kWholeWarp, before, 1);
    const float later = lane == 0 ? carried : farther;
    if (is_sample) {
      const float to_alpha = (to_weight - later) * transmittance[s];
      grad_sigma[s] = to_alpha * (1.0f - alpha) * samples.delta[s] * samples.distance_scale;
    }
    carried = __shfl_sync(kWholeWarp, before, kWarpLanes - 1);
  }
}

// One thread owns a sample. Neighbouring lanes on one ray, the usual case, add up among themselves first.
__global__ void __launch_bounds__(kThreads) accumulate(RaySums sums, float* out) {
  const int64_t s = int64_t{blockIdx.x} * kThreads + threadIdx.x, channels = sums.channels;
  const bool is_sample = s < sums.samples;
  const int64_t ray = is_sample ? sums.ray_index[s] : -1;
  const Segment segment = segment_of<1>(ray);
  const bool writes = segment.is_head && ray >= 0 && ray < sums.rays;
  const float weight = is_sample ? sums.weights[s] : 0.0f;
  for (int64_t c = 0; c < channels; ++c) {
    const float sum = segment_sum<1>(is_sample ? weight * sums.values[s * channels + c] : 0.0f, segment);
    if (writes) atomicAdd(out + ray * channels + c, sum);
  }
}

// First place at which the ascending `rays` is at least `ray`.
__device__ __forceinline__ int64_t first_of_ray(const int64_t* rays, int64_t count, int64_t ray) {
  int64_t begin = 0, end = count;
  while (begin < end) {
    const int64_t middle = begin + (end - begin) / 2;
    if (rays[middle] < ray)
      begin = middle + 1;
    else
      end = middle;
  }
  return begin;
}

// A warp owns a ray and adds its samples in their order: each lane every 32nd, then the lanes.
__global__ void __launch_bounds__(kThreads)
    accumulate_ordered(RaySums sums, const int64_t* sorted_rays, const int64_t* order, float* out) {
  const int64_t ray = ray_of_warp(), samples = sums.samples, channels = sums.channels;
  const int lane = threadIdx.x % kWarpLanes;
  if (ray >= sums.rays) return;  // a whole warp
  const int64_t begin = first_of_ray(sorted_rays, samples, ray), end = first_of_ray(sorted_rays, samples, ray + 1);
  for (int64_t c = 0; c < channels; ++c) {
    float sum = 0.0f;
    for (int64_t i = begin + lane; i < end; i += kWarpLanes)
      sum += sums.weights[order[i]] * sums.values[order[i] * channels + c];
    sum = warp_sum(sum);
    if (lane == 0) out[ray * channels + c] = sum;
  }
}

// One thread owns a sample.
__global__ void __launch_bounds__(kThreads)
    accumulate_backward(RaySums sums, const float* grad, float* grad_weights, float* grad_values) {
  const int64_t s = int64_t{blockIdx.x} * kThreads + threadIdx.x, channels = sums.channels;
  if (s >= sums.samples) return;
  const int64_t ray = sums.ray_index[s];
  const bool is_ray = ray >= 0 && ray < sums.rays;
  const float weight = sums.weights[s];
  float sum = 0.0f;
  for (int64_t c = 0; c < channels; ++c) {
    const float upstream = is_ray ? grad[ray * channels + c] : 0.0f;
    sum += upstream * sums.values[s * channels + c];
    grad_values[s * channels + c] = upstream * weight;
  }
  grad_weights[s] = sum;
}

}  // namespace

int launch_composite(const RaySamples& samples, float* weights, float* opacity, float* transmittance,
                     cudaStream_t stream) {
  if (samples.rays == 0) return cudaSuccess;
  return NERF_SSIM_LAUNCH(composite, blocks_for(samples.rays, kRaysPerBlock), kThreads, stream, samples, weights,
                          opacity, transmittance);
}

int launch_composite_backward(const RaySamples& samples, const float* transmittance, const float* grad_weights,
                              const float* grad_opacity, const float* grad_transmittance, float* grad_sigma,
                              cudaStream_t stream) {
  if (samples.rays == 0) return cudaSuccess;
  return NERF_SSIM_LAUNCH(composite_backward, blocks_for(samples.rays, kRaysPerBlock), kThreads, stream, samples,
                          transmittance, grad_weights, grad_opacity, grad_transmittance, grad_sigma);
}

int launch_accumulate(const RaySums& sums, float* out, cudaStream_t stream) {
  if (sums.samples * sums.channels == 0) return cudaSuccess;
  return NERF_SSIM_LAUNCH(accumulate, blocks_for(sums.samples, kThreads), kThreads, stream, sums, out);
}

int launch_accumulate_ordered(const RaySums& sums, const int64_t* sorted_rays, const int64_t* order, float* out,
                              cudaStream_t stream) {
  if (sums.rays * sums.channels == 0) return cudaSuccess;
  return NERF_SSIM_LAUNCH(accumulate_ordered, blocks_for(sums.rays, kRaysPerBlock), kThreads, stream, sums, sorted_rays,
                          order, out);
}

int launch_accumulate_backward(const RaySums& sums, const float* grad, float* grad_weights, float* grad_values,
                               cudaStream_t stream) {
  if (sums.samples == 0) return cudaSuccess;
  return NERF_SSIM_LAUNCH(accumulate_backward, blocks_for(sums.samples, kThreads), kThreads, stream, sums, grad,
                          grad_weights, grad_values);
}

}  // namespace nerf_ssim
