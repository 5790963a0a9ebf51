// Sums over runs of neighbouring lanes that share a key, so that a run needs one atomic addition instead of many.
#pragma once

#include "warp.cuh"

namespace nerf_ssim {
namespace {

// A run as one of its lanes sees it. `kStride` lanes work on each item: a run joins lanes kStride apart.
struct Segment {
  int next;      // first lane of the next run, kWarpLanes after the last run
  bool is_head;  // whether the lane's item is the first of its run: that lane gets the run's sum
};

// All lanes call this together.
template <int kStride>
__device__ __forceinline__ Segment segment_of(int64_t key) {
  const int lane = threadIdx.x % kWarpLanes;
  const int64_t previous = __shfl_up_sync(kWholeWarp, key, kStride);
  const bool is_head = lane < kStride || key != previous;
  const unsigned heads = __ballot_sync(kWholeWarp, is_head);
  const int last_of_item = lane | (kStride - 1);
  const unsigned later = heads & ~((2u << last_of_item) - 1);
  return {later ? __ffs(static_cast<int>(later)) - 1 : kWarpLanes, is_head};
}

// Valid in the lanes of a run's first item.
template <int kStride>
__device__ __forceinline__ float segment_sum(float value, const Segment& segment) {
  const int lane = threadIdx.x % kWarpLanes;
  for (int offset = kStride; offset < kWarpLanes; offset *= 2) {
    const float other = __shfl_down_sync(kWholeWarp, value, offset);
    if (lane + offset < segment.next) value += other;
  }
  return value;
}

}  // namespace
}  // namespace nerf_ssim
