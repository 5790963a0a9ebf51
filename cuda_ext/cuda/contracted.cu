// Marching through contracted space. Every operation is rounded on its own and in the order of
// ops/reference/contracted.py, so that exactly the reference's samples are kept: the intrinsics below are never fused.
#include "../include/contracted.h"

#include "launch.h"
#include "warp.cuh"

namespace nerf_ssim {
namespace {

constexpr int kThreads = 256;
constexpr int kRaysPerBlock = kThreads / kWarpLanes;

struct Position {
  float x, y, z;
};

__device__ __forceinline__ float length(const Position& p) {
  return sqrtf(__fadd_rn(__fadd_rn(__fmul_rn(p.x, p.x), __fmul_rn(p.y, p.y)), __fmul_rn(p.z, p.z)));
}

__device__ __forceinline__ Position contract(const ContractedMarch& march, const Position& p, float norm) {
  if (norm <= 1.0f) return p;
  const float radius = __fsub_rn(march.outer_radius, __fdiv_rn(march.bg_len, norm));
  return {__fmul_rn(__fdiv_rn(p.x, norm), radius), __fmul_rn(__fdiv_rn(p.y, norm), radius),
          __fmul_rn(__fdiv_rn(p.z, norm), radius)};
}

// Whether the mask is open at the node nearest to a coordinate; `cell` is built up axis by axis.
__device__ __forceinline__ bool add_nearest(float coord, int64_t nodes, int64_t& cell) {
  const float half_last = static_cast<float>(nodes - 1) / 2.0f;
  const float nearest = __fadd_rn(__fmul_rn(__fadd_rn(coord, 1.0f), half_last), 0.5f);
  if (!(nearest >= 0.0f && nearest < static_cast<float>(nodes))) return false;
  cell = cell * nodes + static_cast<int64_t>(nearest);
  return true;
}

__device__ __forceinline__ bool is_open(const ContractedMarch& march, const Position& coords) {
  int64_t cell = 0;
  return add_nearest(coords.x, march.nodes[0], cell) && add_nearest(coords.y, march.nodes[1], cell) &&
         add_nearest(coords.z, march.nodes[2], cell) && march.mask[cell];
}

// One warp owns a ray and takes its places 32 at a time, one a lane: visit(place, coords, is_kept), all lanes together.
template <class Visit>
__device__ __forceinline__ void for_each_place(const ContractedMarch& march, int64_t ray, const Visit& visit) {
  const int lane = threadIdx.x % kWarpLanes;
  const float* o = march.origins + 3 * ray;
  const float* d = march.directions + 3 * ray;
  float accumulated = 0.0f;
  Position last{};  // of the lanes before, contracted
  for (int64_t first = 0; first < march.places; first += kWarpLanes) {
    // 1. where the lane's place is; lanes beyond the last repeat it
    const int64_t place = first + lane;
    const float t = march.t[min(place, march.places - 1)];
    const Position p{__fadd_rn(o[0], __fmul_rn(d[0], t)), __fadd_rn(o[1], __fmul_rn(d[1], t)),
                     __fadd_rn(o[2], __fmul_rn(d[2], t))};
    const float norm = length(p);
    const Position q = contract(march, p, norm);
    // 2. how far from the place before it
    const Position lower{__shfl_up_sync(kWholeWarp, q.x, 1), __shfl_up_sync(kWholeWarp, q.y, 1),
                         __shfl_up_sync(kWholeWarp, q.z, 1)};
    const Position before = lane > 0 ? lower : last;
    const float distance = length({__fsub_rn(q.x, before.x), __fsub_rn(q.y, before.y), __fsub_rn(q.z, before.z)});
    last = {__shfl_sync(kWholeWarp, q.x, kWarpLanes - 1), __shfl_sync(kWholeWarp, q.y, kWarpLanes - 1),
            __shfl_sync(kWholeWarp, q.z, kWarpLanes - 1)};
    // 3. all lanes add up all distances, one after the other as the reference does; the ray's first place has none
    bool is_over = false;
#pragma unroll 4  // all 32 at once would hold 32 distances in registers
    for (int other = 0; other < kWarpLanes; ++other) {
      const float step = __shfl_sync(kWholeWarp, distance, other);
      if (first + other == 0) continue;
      accumulated = __fadd_rn(accumulated, step);
      if (accumulated > march.min_distance) {
        accumulated = 0.0f;
        is_over |= other == lane;
      }
    }
    // 4. what is kept
    const Position coords{__fdiv_rn(q.x, march.outer_radius), __fdiv_rn(q.y, march.outer_radius),
                          __fdiv_rn(q.z, march.outer_radius)};
    bool is_kept = place < march.places && (norm <= 1.0f || is_over);
    if (is_kept && march.mask) is_kept = is_open(march, coords);
    visit(place, coords, is_kept);
  }
}

__global__ void __launch_bounds__(kThreads) count_contracted(ContractedMarch march, int64_t* counts) {
  const int64_t ray = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / kWarpLanes;
  if (ray >= march.rays) return;  // a whole warp
  int64_t count = 0;
  for_each_place(march, ray,
                 [&](int64_t, const Position&, bool is_kept) { count += __popc(__ballot_sync(kWholeWarp, is_kept)); });
  if (threadIdx.x % kWarpLanes == 0) counts[ray] = count;
}

__global__ void __launch_bounds__(kThreads) fill_contracted(ContractedMarch march, const int64_t* offsets,
                                                            float* coords_out, float* t_out, int64_t* ray_index) {
  const int64_t ray = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / kWarpLanes;
  if (ray >= march.rays) return;  // a whole warp
  const unsigned earlier_lanes = (1u << threadIdx.x % kWarpLanes) - 1;
  int64_t next = offsets[ray];
  for_each_place(march, ray, [&](int64_t place, const Position& coords, bool is_kept) {
    const unsigned kept = __ballot_sync(kWholeWarp, is_kept);
    if (is_kept) {
      const int64_t s = next + __popc(kept & earlier_lanes);
      coords_out[3 * s] = coords.x;
      coords_out[3 * s + 1] = coords.y;
      coords_out[3 * s + 2] = coords.z;
      t_out[s] = march.t[place];
      ray_index[s] = ray;
    }
    next += __popc(kept);
  });
}

}  // namespace

int launch_count_contracted(const ContractedMarch& march, int64_t* counts, cudaStream_t stream) {
  if (march.rays == 0) return cudaSuccess;
  return NERF_SSIM_LAUNCH(count_contracted, blocks_for(march.rays, kRaysPerBlock), kThreads, stream, march, counts);
}

int launch_fill_contracted(const ContractedMarch& march, const int64_t* ray_offsets, float* coords, float* t,
                           int64_t* ray_index, cudaStream_t stream) {
  if (march.rays == 0) return cudaSuccess;
  return NERF_SSIM_LAUNCH(fill_contracted, blocks_for(march.rays, kRaysPerBlock), kThreads, stream, march, ray_offsets,
                          coords, t, ray_index);
}

}  // namespace nerf_ssim
