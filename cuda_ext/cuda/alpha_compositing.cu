// Compositing of voxel densities: a warp owns a ray and takes its samples 32 at a time, one a lane. Distortion: a warp
// owns 32 samples and takes the rays that begin among them, one after the other.
#include "../include/alpha_compositing.h"

#include "launch.h"
#include "warp.cuh"

namespace nerf_ssim {
namespace {

constexpr int kThreads = 256;
constexpr int kWarpsPerBlock = kThreads / kWarpLanes;

__device__ __forceinline__ int64_t warp_number() { return (int64_t{blockIdx.x} * kThreads + threadIdx.x) / kWarpLanes; }

// Opacity of a sample and its derivative in the density; both 0 where it is not above the threshold.
struct Opacity {
  float alpha, slope;
};

__device__ __forceinline__ Opacity opacity_of(const VoxelRays& samples, int64_t s) {
  const float x = samples.density[s] + samples.shift;
  const float e = expf(-fabsf(x));
  const float softplus = (x > 0.0f ? x : 0.0f) + log1pf(e);
  const float alpha = -expm1f(-samples.interval * softplus);
  if (!(alpha > samples.threshold)) return {0.0f, 0.0f};
  return {alpha, samples.interval * (x > 0.0f ? 1.0f : e) / (1.0f + e) * (1.0f - alpha)};
}

// Product of the value over this lane and all before it.
__device__ __forceinline__ float warp_inclusive_product(float value) {
  const int lane = threadIdx.x % kWarpLanes;
  for (int offset = 1; offset < kWarpLanes; offset *= 2) {
    const float earlier = __shfl_up_sync(kWholeWarp, value, offset);
    if (lane >= offset) value *= earlier;
  }
  return value;
}

// Sum of the value over all lanes before this one.
__device__ __forceinline__ float warp_exclusive_sum(float value) {
  const int lane = threadIdx.x % kWarpLanes;
  float sum = value;
  for (int offset = 1; offset < kWarpLanes; offset *= 2) {
    const float earlier = __shfl_up_sync(kWholeWarp, sum, offset);
    if (lane >= offset) sum += earlier;
  }
  const float before = __shfl_up_sync(kWholeWarp, sum, 1);
  return lane == 0 ? 0.0f : before;
}

// Goes along a ray as far as light is left, 32 samples at a time: visit(sample, light that reaches it, opacity) for the
// samples that it reaches. Returns where it ended and the light left there.
struct End {
  int64_t sample;
  float light;
};

template <class Visit>
__device__ __forceinline__ End follow(const VoxelRays& samples, int64_t begin, int64_t end, const Visit& visit) {
  const int lane = threadIdx.x % kWarpLanes;
  float light = 1.0f;
  for (int64_t first = begin; first < end; first += kWarpLanes) {
    // 1. each lane's opacity; lanes beyond the ray's end are clear
    const int64_t s = first + lane;
    const Opacity opacity = s < end ? opacity_of(samples, s) : Opacity{0.0f, 0.0f};
    // 2. light before and behind it; the samples that enough of it reaches are the first ones
    const float behind = light * warp_inclusive_product(1.0f - opacity.alpha);
    const float passed = __shfl_up_sync(kWholeWarp, behind, 1);
    const float reaching = lane == 0 ? light : passed;
    const bool is_reached = lane == 0 || reaching >= samples.stop;
    if (is_reached && s < end) visit(s, reaching, opacity);
    // 3. whether the ray goes on
    const int reached = __popc(__ballot_sync(kWholeWarp, is_reached));
    light = __shfl_sync(kWholeWarp, behind, reached - 1);
    if (light < samples.stop) return {min(first + reached, end), light};
  }
  return {end, light};
}

__global__ void __launch_bounds__(kThreads) composite_voxels(VoxelRays samples, float* weights, float* background) {
  const int64_t ray = warp_number();
  if (ray >= samples.rays) return;  // a whole warp
  const int64_t begin = max(samples.offsets[ray], int64_t{0}), end = min(samples.offsets[ray + 1], samples.samples);
  const End last = follow(samples, begin, end, [&](int64_t s, float reaching, const Opacity& opacity) {
    weights[s] = opacity.alpha * reaching;
  });
  for (int64_t s = last.sample + threadIdx.x % kWarpLanes; s < end; s += kWarpLanes) weights[s] = 0.0f;
  if (threadIdx.x % kWarpLanes == 0) background[ray] = last.light;
}

// Goes along the ray and then back. What the later samples pull at a sample's light, `later`, is an affine function of
// what those after it pull: factor * later + own. A warp composes 32 of these functions.
__global__ void __launch_bounds__(kThreads)
    composite_voxels_backward(VoxelRays samples, const float* grad_weights, const float* grad_background,
                              float* grad_density) {
  const int64_t ray = warp_number();
  const int lane = threadIdx.x % kWarpLanes;
  if (ray >= samples.rays) return;  // a whole warp
  const int64_t begin = max(samples.offsets[ray], int64_t{0}), end = min(samples.offsets[ray + 1], samples.samples);
  // 1. the light that reaches each sample, kept where its gradient will be
  const End last =
      follow(samples, begin, end, [&](int64_t s, float reaching, const Opacity&) { grad_density[s] = reaching; });
  for (int64_t s = last.sample + lane; s < end; s += kWarpLanes) grad_density[s] = 0.0f;
  __syncwarp();
  // 2. back; lane 0 has the farthest sample, lanes beyond the ray's start are clear and want nothing
  float carried = grad_background ? grad_background[ray] : 0.0f;  // d loss / d light behind this run of lanes
  for (int64_t stop = last.sample; stop > begin; stop -= kWarpLanes) {
    const int64_t s = stop - 1 - lane;
    const bool is_sample = s >= begin;
    const Opacity opacity = is_sample ? opacity_of(samples, s) : Opacity{0.0f, 0.0f};
    const float to_weight = is_sample && grad_weights ? grad_weights[s] : 0.0f;
    // 3. the lane's function and those of the farther lanes, composed
    float factor = 1.0f - opacity.alpha, own = to_weight * opacity.alpha;
    for (int offset = 1; offset < kWarpLanes; offset *= 2) {
      const float farther_factor = __shfl_up_sync(kWholeWarp, factor, offset);
      const float farther_own = __shfl_up_sync(kWholeWarp, own, offset);
      if (lane >= offset) {
        own += factor * farther_own;
        factor *= farther_factor;
      }
    }
    // 4. the gradient of the opacity, and through it of the density
    const float before = factor * carried + own;
    const float farther = __shfl_up_sync(kWholeWarp, before, 1);
    const float later = lane == 0 ? carried : farther;
    if (is_sample) grad_density[s] *= (to_weight - later) * opacity.slope;
    carried = __shfl_sync(kWholeWarp, before, kWarpLanes - 1);
  }
}

// Distortion of the ray whose first sample is `begin`, the lane's share of it; writes the gradient, times `scale`.
__device__ __forceinline__ float distortion_of_ray(const PackedWeights& packed, int64_t begin, float scale,
                                                   float* gradient) {
  const int lane = threadIdx.x % kWarpLanes;
  const int64_t ray = packed.ray_index[begin];
  // 1. where the ray ends, its sum of weights and their first moment
  float total = 0.0f, total_moment = 0.0f;
  int64_t end = begin;
  for (bool goes_on = true; goes_on; end += kWarpLanes) {
    const int64_t i = end + lane;
    const bool is_sample = i < packed.samples && packed.ray_index[i] == ray;
    const float w = is_sample ? packed.weights[i] : 0.0f;
    total += w;
    total_moment += is_sample ? w * packed.s[i] : 0.0f;
    goes_on = __all_sync(kWholeWarp, is_sample);
  }
  total = warp_sum(total);
  total_moment = warp_sum(total_moment);
  // 2. along it again, with the sums of the samples before each; `end` is now at most 32 samples too far
  float sum = 0.0f, before = 0.0f, moment_before = 0.0f;
  for (int64_t first = begin; first < end; first += kWarpLanes) {
    const int64_t i = first + lane;
    const bool is_sample = i < packed.samples && packed.ray_index[i] == ray;
    const float w = is_sample ? packed.weights[i] : 0.0f, s = is_sample ? packed.s[i] : 0.0f, moment = w * s;
    const float earlier = before + warp_exclusive_sum(w), earlier_moment = moment_before + warp_exclusive_sum(moment);
    if (is_sample) {
      const float to_earlier = s * earlier - earlier_moment;
      const float later = total - earlier - w, later_moment = total_moment - earlier_moment - moment;
      sum += 2.0f * w * to_earlier + packed.interval / 3.0f * w * w;
      gradient[i] = scale * (2.0f * (to_earlier + later_moment - s * later) + 2.0f / 3.0f * packed.interval * w);
    }
    before = __shfl_sync(kWholeWarp, earlier + w, kWarpLanes - 1);
    moment_before = __shfl_sync(kWholeWarp, earlier_moment + moment, kWarpLanes - 1);
  }
  return sum;
}

__global__ void __launch_bounds__(kThreads) distortion(PackedWeights packed, float* of_warp, float* gradient) {
  const int64_t warp = warp_number(), mine = warp * kWarpLanes + threadIdx.x % kWarpLanes;
  if (warp * kWarpLanes >= packed.samples) return;  // a whole warp
  const float scale = 1.0f / static_cast<float>(packed.ray_index[packed.samples - 1] + 1);
  const bool begins = mine < packed.samples && (mine == 0 || packed.ray_index[mine] != packed.ray_index[mine - 1]);
  float sum = 0.0f;
  for (unsigned heads = __ballot_sync(kWholeWarp, begins); heads; heads &= heads - 1)
    sum += distortion_of_ray(packed, warp * kWarpLanes + __ffs(static_cast<int>(heads)) - 1, scale, gradient);
  sum = warp_sum(sum);
  if (threadIdx.x % kWarpLanes == 0) of_warp[warp] = scale * sum;
}

// One block owns all: each thread adds every kThreads-th, then the threads.
__global__ void __launch_bounds__(kThreads) add_in_order(const float* parts, int64_t count, float* out) {
  __shared__ float of_warps[kWarpsPerBlock];
  float sum = 0.0f;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) sum += parts[i];
  sum = block_sum<kThreads>(sum, of_warps, threadIdx.x);
  if (threadIdx.x == 0) *out = sum;
}

}  // namespace

int launch_composite_voxels(const VoxelRays& samples, float* weights, float* background, cudaStream_t stream) {
  if (samples.rays == 0) return cudaSuccess;
  return NERF_SSIM_LAUNCH(composite_voxels, blocks_for(samples.rays, kWarpsPerBlock), kThreads, stream, samples,
                          weights, background);
}

int launch_composite_voxels_backward(const VoxelRays& samples, const float* grad_weights, const float* grad_background,
                                     float* grad_density, cudaStream_t stream) {
  if (samples.rays == 0) return cudaSuccess;
  return NERF_SSIM_LAUNCH(composite_voxels_backward, blocks_for(samples.rays, kWarpsPerBlock), kThreads, stream,
                          samples, grad_weights, grad_background, grad_density);
}

int64_t distortion_scratch(int64_t samples) { return ceil_divide(samples, kWarpLanes); }

int launch_distortion(const PackedWeights& packed, float* scratch, float* loss, float* gradient, cudaStream_t stream) {
  const int64_t warps = distortion_scratch(packed.samples);
  if (const cudaError_t error =
          NERF_SSIM_LAUNCH(distortion, blocks_for(warps, kWarpsPerBlock), kThreads, stream, packed, scratch, gradient))
    return error;
  return NERF_SSIM_LAUNCH(add_in_order, 1, kThreads, stream, scratch, warps, loss);
}

}  // namespace nerf_ssim
