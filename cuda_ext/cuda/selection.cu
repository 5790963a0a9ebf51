// The samples that get a colour. They come out in the order of the samples, with no atomics: warps count theirs, the
// counts are added up, and each warp writes behind those before.
#include "../include/selection.h"

#include "launch.h"
#include "warp.cuh"

namespace nerf_ssim {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kWarps = kThreads / kWarpLanes;

__device__ __forceinline__ bool is_chosen(const WeighedSamples& from, int64_t sample) {
  return sample < from.samples && from.weights[sample] > from.threshold;
}

// A warp owns kSamplesOfAWarp samples and takes 32 at a time, one a lane.
__global__ void __launch_bounds__(kThreads) count_chosen(WeighedSamples from, int64_t* counts) {
  const int64_t warp = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / kWarpLanes, begin = warp * kSamplesOfAWarp;
  if (begin >= from.samples) return;  // a whole warp
  const int lane = threadIdx.x % kWarpLanes;
  int64_t count = 0;
  for (int64_t first = begin; first < begin + kSamplesOfAWarp; first += kWarpLanes)
    count += __popc(__ballot_sync(kWholeWarp, is_chosen(from, first + lane)));
  if (lane == 0) counts[warp] = count;
}

// The same samples again; each lane that has one writes it behind those of earlier lanes, which the ballot counts.
__global__ void __launch_bounds__(kThreads)
    gather_chosen(WeighedSamples from, const int64_t* before, ChosenSamples to) {
  const int64_t warp = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / kWarpLanes, begin = warp * kSamplesOfAWarp;
  if (begin >= from.samples) return;  // a whole warp
  const int lane = threadIdx.x % kWarpLanes;
  const unsigned earlier_lanes = (1u << lane) - 1;
  int64_t next = before[warp];
  for (int64_t first = begin; first < begin + kSamplesOfAWarp; first += kWarpLanes) {
    const int64_t sample = first + lane;
    const unsigned chosen = __ballot_sync(kWholeWarp, is_chosen(from, sample));
    if (chosen >> lane & 1) {
      const int64_t place = next + __popc(chosen & earlier_lanes), ray = from.ray_index[sample];
      const bool is_ray = ray >= 0 && ray < from.rays;
      to.weights[place] = from.weights[sample];
      to.index[place] = sample;
      to.ray_index[place] = ray;
      for (int axis = 0; axis < 3; ++axis) {
        to.coords[3 * place + axis] = from.coords[3 * sample + axis];
        to.directions[3 * place + axis] = is_ray ? from.directions[3 * ray + axis] : __int_as_float(0x7FC00000);
      }
      if (to.t) to.t[place] = from.t[sample];
    }
    next += __popc(chosen);
  }
}

// One thread owns a chosen sample.
__global__ void __launch_bounds__(kThreads)
    spread_chosen(const float* grad, const int64_t* index, int64_t chosen, float* gradient, int64_t samples) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= chosen) return;
  const int64_t place = index[i];
  if (place >= 0 && place < samples) gradient[place] = grad[i];
}

unsigned blocks_of(const WeighedSamples& from) { return blocks_for(from.samples, kWarps * kSamplesOfAWarp); }

}  // namespace

int launch_count_chosen(const WeighedSamples& from, int64_t* counts, cudaStream_t stream) {
  if (from.samples == 0) return cudaSuccess;
  return NERF_SSIM_LAUNCH(count_chosen, blocks_of(from), kThreads, stream, from, counts);
}

int launch_gather_chosen(const WeighedSamples& from, const int64_t* before, const ChosenSamples& to,
                         cudaStream_t stream) {
  if (from.samples == 0) return cudaSuccess;
  return NERF_SSIM_LAUNCH(gather_chosen, blocks_of(from), kThreads, stream, from, before, to);
}

int launch_spread_chosen(const float* grad, const int64_t* index, int64_t chosen, float* gradient, int64_t samples,
                         cudaStream_t stream) {
  if (chosen == 0) return cudaSuccess;
  return NERF_SSIM_LAUNCH(spread_chosen, blocks_for(chosen, kThreads), kThreads, stream, grad, index, chosen, gradient,
                          samples);
}

}  // namespace nerf_ssim
