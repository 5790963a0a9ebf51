// What of CUDA C++ the project's kernels use, for g++: with this folder on the include path it stands in the place of
// CUDA's header of that name (docs/simulator.md). A call that is missing here does not compile: add it with its
// meaning.
//
// Not modelled: the rounding of fast intrinsics and of fused multiply-add (products and sums round one after the
// other), and the order in which memory becomes visible to other threads without a barrier.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "device.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __grid_constant__
// All shared memory is the library's thread-local storage, which the simulator finds and fills with NaN before each
// block. (A linker section of its own would do but for templates, whose variables g++ silently puts elsewhere.)
#define __shared__ static thread_local

#define threadIdx (nerf_ssim::simulator::thread_index())
#define blockIdx (nerf_ssim::simulator::block_index())
#define blockDim (nerf_ssim::simulator::block_size())
#define gridDim (nerf_ssim::simulator::grid_size())

// As in cuda/launch.h. Arguments are copied, as a launch copies them; the stream is not used.
#define NERF_SSIM_LAUNCH(kernel, grid, block, stream, ...) \
  (static_cast<void>(stream), nerf_ssim::simulator::launch(grid, block, [=] { (kernel)(__VA_ARGS__); }))

struct float2 {
  float x, y;
} __attribute__((aligned(8)));
struct float3 {
  float x, y, z;
};
struct float4 {
  float x, y, z, w;
} __attribute__((aligned(16)));
struct int2 {
  int x, y;
} __attribute__((aligned(8)));
struct int3 {
  int x, y, z;
};
struct int4 {
  int x, y, z, w;
} __attribute__((aligned(16)));
struct uint2 {
  unsigned x, y;
} __attribute__((aligned(8)));
struct uint4 {
  unsigned x, y, z, w;
} __attribute__((aligned(16)));
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int3 make_int3(int x, int y, int z) { return {x, y, z}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// Arithmetic. The _rn forms are never fused, which without contraction holds for every product and sum here.
template <typename T>
constexpr T min(T a, T b) {
  return b < a ? b : a;
}
template <typename T>
constexpr T max(T a, T b) {
  return a < b ? b : a;
}
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float a) { return std::exp(a); }
inline float __sinf(float a) { return std::sin(a); }
inline float __cosf(float a) { return std::cos(a); }
inline float rsqrtf(float a) { return 1.f / std::sqrt(a); }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __clz(int bits) { return bits == 0 ? 32 : __builtin_clz(static_cast<unsigned>(bits)); }
inline int __float_as_int(float value) {
  int bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline float __int_as_float(int bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
template <typename T>
T __ldg(const T* address) {
  return *address;
}

// Barriers and warp primitives.
#define __syncthreads() nerf_ssim::simulator::block_barrier()
inline void __syncwarp(unsigned mask = ~0u) {
  nerf_ssim::simulator::meet(nerf_ssim::simulator::Exchange::kNothing, mask, 0, 0);
}

namespace nerf_ssim::simulator {

template <typename T>
uint64_t bits_of(T value) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}

template <typename T>
T shuffle(unsigned mask, T value, int source) {
  const uint64_t received = meet(Exchange::kShuffle, mask, bits_of(value), source);
  std::memcpy(&value, &received, sizeof value);
  return value;
}

// Not inlined, so that the tracer doesn't see the two plain accesses but one atomic one, with the place of its call.
template <typename T, typename Update>
__attribute__((noinline, no_sanitize("thread"))) T atomic_update(T* address, Update update) {
  note_atomic(address, sizeof(T), __builtin_return_address(0));
  const T before = *address;
  *address = update(before);
  return before;
}

}  // namespace nerf_ssim::simulator

// `width` lanes (a power of two) are a segment; a source outside it is the lane itself.
template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const int lane = nerf_ssim::simulator::lane(), segment = lane & ~(width - 1);
  return nerf_ssim::simulator::shuffle(mask, value, segment + (source & (width - 1)));
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  const int lane = nerf_ssim::simulator::lane(), source = lane ^ bits;
  return nerf_ssim::simulator::shuffle(mask, value, source < (lane & ~(width - 1)) + width ? source : lane);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const int lane = nerf_ssim::simulator::lane(), place = lane & (width - 1);
  return nerf_ssim::simulator::shuffle(mask, value,
                                       place + static_cast<int>(delta) < width ? lane + static_cast<int>(delta) : lane);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const int lane = nerf_ssim::simulator::lane(), place = lane & (width - 1);
  return nerf_ssim::simulator::shuffle(mask, value,
                                       place >= static_cast<int>(delta) ? lane - static_cast<int>(delta) : lane);
}
inline unsigned __ballot_sync(unsigned mask, bool holds) {
  return static_cast<unsigned>(nerf_ssim::simulator::meet(nerf_ssim::simulator::Exchange::kBallot, mask, holds, 0));
}
inline bool __any_sync(unsigned mask, bool holds) { return __ballot_sync(mask, holds) != 0; }
inline bool __all_sync(unsigned mask, bool holds) { return __ballot_sync(mask, holds) == mask; }
template <typename T>
unsigned __match_any_sync(unsigned mask, T value) {
  const uint64_t bits = nerf_ssim::simulator::bits_of(value);
  return static_cast<unsigned>(nerf_ssim::simulator::meet(nerf_ssim::simulator::Exchange::kMatch, mask, bits, 0));
}

// A store that goes to the memory that all blocks share. Two of the same value to one address do no harm.
template <typename T>
void __stcg(T* address, T value) {
  nerf_ssim::simulator::atomic_update(address, [=](T) { return value; });
}

// Atomics return what was there before.
template <typename T>
T atomicAdd(T* address, T value) {
  return nerf_ssim::simulator::atomic_update(address, [=](T before) { return before + value; });
}
template <typename T>
T atomicMax(T* address, T value) {
  return nerf_ssim::simulator::atomic_update(address, [=](T before) { return max(before, value); });
}
template <typename T>
T atomicMin(T* address, T value) {
  return nerf_ssim::simulator::atomic_update(address, [=](T before) { return min(before, value); });
}
template <typename T>
T atomicOr(T* address, T value) {
  return nerf_ssim::simulator::atomic_update(address, [=](T before) { return before | value; });
}
template <typename T>
T atomicCAS(T* address, T expected, T value) {
  return nerf_ssim::simulator::atomic_update(address, [=](T before) { return before == expected ? value : before; });
}
