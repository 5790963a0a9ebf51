// Sums over the threads of a warp and of a block.
#pragma once

#include <cuda_runtime.h>

namespace nerf_ssim {
namespace {

constexpr int kWarpLanes = 32;
constexpr unsigned kWholeWarp = 0xFFFFFFFFu;

// Every lane gets the sum. All 32 must call it.
__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int step = kWarpLanes / 2; step > 0; step /= 2) value += __shfl_xor_sync(kWholeWarp, value, step);
  return value;
}

// The sum of `value` over a block of kThreads (a multiple of 32) in x and y, in thread 0 only. All threads must call
// it; `of_warps` is shared memory of kThreads / 32 floats that nothing else uses until the next barrier.
template <int kThreads>
__device__ __forceinline__ float block_sum(float value, float* of_warps, int thread) {
  constexpr int kWarps = kThreads / kWarpLanes;
  static_assert(kThreads % kWarpLanes == 0 && kWarps <= kWarpLanes);
  value = warp_sum(value);
  if (thread % kWarpLanes == 0) of_warps[thread / kWarpLanes] = value;
  __syncthreads();
  if (thread >= kWarpLanes) return 0.f;
  return warp_sum(thread < kWarps ? of_warps[thread] : 0.f);
}

}  // namespace
}  // namespace nerf_ssim
