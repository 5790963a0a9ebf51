// Ray marching. Every operation is rounded on its own and in the order of ops/reference/marching.py, so that exactly
// the reference's samples are kept: the intrinsics below are never fused into multiply-adds.
#include "../include/marching.h"

#include "launch.h"
#include "segments.cuh"

namespace nerf_ssim {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksAtOnce = 4;  // on a multiprocessor: at most 64 registers a thread
constexpr int kRaysPerBlock = kThreads / kWarpLanes;
constexpr int kScanThreads = 1024;
constexpr float kZeroDirection = 1e-6f;  // stands in for a zero component when the entry is found

// A ray with the box and the volume's box, read once.
struct Ray {
  float origin[3], direction[3];
  float lower[3], upper[3];
  float bits_lower[3], bits_scale[3];  // nodes of the volume a unit of length
  float entry, shift;
};

__device__ __forceinline__ Ray ray_at(const March& march, int64_t index) {
  Ray ray{};
  float entry = 0.0f;
  for (int axis = 0; axis < 3; ++axis) {
    const float origin = march.origins[3 * index + axis], direction = march.directions[3 * index + axis];
    const float lower = march.aabb[axis], upper = march.aabb[3 + axis];
    const float divisor = direction == 0.0f ? kZeroDirection : direction;
    const float first = min(__fdiv_rn(__fsub_rn(upper, origin), divisor), __fdiv_rn(__fsub_rn(lower, origin), divisor));
    entry = axis == 0 ? first : max(entry, first);
    ray.origin[axis] = origin;
    ray.direction[axis] = direction;
    ray.lower[axis] = lower;
    ray.upper[axis] = upper;
    if (march.bits == nullptr) continue;
    ray.bits_lower[axis] = march.bits_aabb[axis];
    ray.bits_scale[axis] = __fdiv_rn(static_cast<float>(march.cells[axis] - 2),
                                     __fsub_rn(march.bits_aabb[3 + axis], march.bits_aabb[axis]));
  }
  ray.entry = min(max(entry, march.near), march.far);
  ray.shift = march.jitter ? march.jitter[index] : 0.0f;
  return ray;
}

__device__ __forceinline__ float distance_at(const March& march, const Ray& ray, int64_t place) {
  return __fadd_rn(ray.entry, __fmul_rn(march.step, __fadd_rn(static_cast<float>(place), ray.shift)));
}

__device__ __forceinline__ float position_at(const Ray& ray, int axis, float t) {
  return __fadd_rn(ray.origin[axis], __fmul_rn(ray.direction[axis], t));
}

// Whether the interpolated occupancy is positive: whether a corner that has weight at the point is occupied. All have,
// but for the far ones of an axis on whose node the point sits.
__device__ __forceinline__ bool is_occupied(const March& march, const Ray& ray, float t) {
  constexpr int kNearCornersX = 0b00001111, kNearCornersY = 0b00110011, kNearCornersZ = 0b01010101;
  int corners = 0b11111111;
  int64_t cell = 0;
  for (int axis = 0; axis < 3; ++axis) {
    const float p = __fmul_rn(__fsub_rn(position_at(ray, axis, t), ray.bits_lower[axis]), ray.bits_scale[axis]);
    if (!(p > -1.0f && p < static_cast<float>(march.cells[axis] - 1))) return false;  // a NaN is outside too
    const float node = floorf(p);
    if (p == node) corners &= axis == 0 ? kNearCornersX : axis == 1 ? kNearCornersY : kNearCornersZ;
    cell = cell * march.cells[axis] + static_cast<int64_t>(node) + 1;
  }
  return (march.bits[cell] & corners) != 0;
}

__device__ __forceinline__ bool is_kept(const March& march, const Ray& ray, int64_t place) {
  if (place >= march.places) return false;
  const float t = distance_at(march, ray, place);
  for (int axis = 0; axis < 3; ++axis) {
    const float x = position_at(ray, axis, t);
    if (!(x >= ray.lower[axis] && x <= ray.upper[axis])) return false;
  }
  return march.bits == nullptr || is_occupied(march, ray, t);
}

// One warp owns a ray and takes its places 32 at a time, one a lane: visit(ray, place, is_kept), all lanes together.
template <class Visit>
__device__ __forceinline__ void for_each_place(const March& march, int64_t index, const Visit& visit) {
  const Ray ray = ray_at(march, index);
  for (int64_t first = 0; first < march.places; first += kWarpLanes) {
    const int64_t place = first + threadIdx.x % kWarpLanes;
    visit(ray, place, is_kept(march, ray, place));
  }
}

__global__ void __launch_bounds__(kThreads, kBlocksAtOnce) count_samples(March march, int64_t* counts) {
  const int64_t index = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / kWarpLanes;
  if (index >= march.rays) return;  // a whole warp
  int64_t count = 0;
  for_each_place(march, index,
                 [&](const Ray&, int64_t, bool is_kept) { count += __popc(__ballot_sync(kWholeWarp, is_kept)); });
  if (threadIdx.x % kWarpLanes == 0) counts[index] = count;
}

__device__ __forceinline__ int64_t warp_inclusive_sum(int64_t value) {
  const int lane = threadIdx.x % kWarpLanes;
  for (int offset = 1; offset < kWarpLanes; offset *= 2) {
    const int64_t earlier = __shfl_up_sync(kWholeWarp, value, offset);
    if (lane >= offset) value += earlier;
  }
  return value;
}

// One block owns all rays and takes kScanThreads of them at a time, one a thread.
__global__ void __launch_bounds__(kScanThreads) sample_offsets(const int64_t* counts, int64_t rays, int64_t* offsets) {
  __shared__ int64_t of_warp[kWarpLanes];
  const int lane = threadIdx.x % kWarpLanes, warp = threadIdx.x / kWarpLanes;
  if (threadIdx.x == 0) offsets[0] = 0;
  int64_t before = 0;  // samples of the rays already taken
  for (int64_t first = 0; first < rays; first += kScanThreads) {
    const int64_t ray = first + threadIdx.x;
    // 1. sums within each warp
    const int64_t sum = warp_inclusive_sum(ray < rays ? counts[ray] : 0);
    if (lane == kWarpLanes - 1) of_warp[warp] = sum;
    __syncthreads();
    // 2. every warp sums up the warps
    const int64_t warps = warp_inclusive_sum(of_warp[lane]);
    const int64_t earlier_warps = __shfl_sync(kWholeWarp, warps, (warp + kWarpLanes - 1) % kWarpLanes);
    if (ray < rays) offsets[ray + 1] = before + (warp == 0 ? 0 : earlier_warps) + sum;
    before += __shfl_sync(kWholeWarp, warps, kWarpLanes - 1);
    __syncthreads();  // before the sums are written anew
  }
}

__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    fill_samples(March march, const int64_t* offsets, PackedSamples out) {
  const int64_t index = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / kWarpLanes;
  if (index >= march.rays) return;  // a whole warp
  const unsigned earlier_lanes = (1u << (threadIdx.x % kWarpLanes)) - 1;
  int64_t next = offsets[index];  // where the ray's next sample goes
  for_each_place(march, index, [&](const Ray& ray, int64_t place, bool is_kept) {
    const unsigned kept = __ballot_sync(kWholeWarp, is_kept);
    if (is_kept) {
      const int64_t s = next + __popc(kept & earlier_lanes);
      const float t = distance_at(march, ray, place);
      for (int axis = 0; axis < 3; ++axis) {
        const float from_lower = __fsub_rn(position_at(ray, axis, t), ray.lower[axis]);
        const float scale = __fdiv_rn(2.0f, __fsub_rn(ray.upper[axis], ray.lower[axis]));
        out.coords[3 * s + axis] = __fsub_rn(__fmul_rn(from_lower, scale), 1.0f);
      }
      out.t[s] = t;
      out.delta[s] = place == march.places - 1 ? 0.0f : march.step;
      out.ray_index[s] = index;
    }
    next += __popc(kept);
  });
}

}  // namespace

int launch_count_samples(const March& march, int64_t* counts, cudaStream_t stream) {
  if (march.rays == 0) return cudaSuccess;
  return NERF_SSIM_LAUNCH(count_samples, blocks_for(march.rays, kRaysPerBlock), kThreads, stream, march, counts);
}

int launch_sample_offsets(const int64_t* counts, int64_t rays, int64_t* ray_offsets, cudaStream_t stream) {
  return NERF_SSIM_LAUNCH(sample_offsets, 1, kScanThreads, stream, counts, rays, ray_offsets);
}

int launch_fill_samples(const March& march, const int64_t* ray_offsets, const PackedSamples& out, cudaStream_t stream) {
  if (march.rays == 0) return cudaSuccess;
  return NERF_SSIM_LAUNCH(fill_samples, blocks_for(march.rays, kRaysPerBlock), kThreads, stream, march, ray_offsets,
                          out);
}

}  // namespace nerf_ssim
