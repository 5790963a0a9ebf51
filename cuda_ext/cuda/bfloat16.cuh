// Numbers of 32 or 16 bits that a kernel reads and writes by the chunk, and computes with as floats.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "chunks.cuh"

namespace nerf_ssim {
namespace {

struct Bfloat16 {
  uint16_t bits;
};

// The nearest bfloat16, the even one of two; a NaN stays one.
__device__ __forceinline__ unsigned bfloat16_bits(float value) {
  const unsigned bits = static_cast<unsigned>(__float_as_int(value));
  return value == value ? (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16 : 0x7FC0u;
}

__device__ __forceinline__ float from_bfloat16_bits(unsigned bits) {
  return __int_as_float(static_cast<int>(bits << 16));
}

// The value that a number of this kind keeps of a float.
template <class Number>
__device__ __forceinline__ float rounded_to(float value) {
  if constexpr (sizeof(Number) == sizeof(float))
    return value;
  else
    return from_bfloat16_bits(bfloat16_bits(value));
}

template <int kWidth>
__device__ __forceinline__ Chunk<kWidth> load(const Bfloat16* from) {
  if constexpr (kWidth == 4) {
    const uint2 pairs = *reinterpret_cast<const uint2*>(from);
    return {{from_bfloat16_bits(pairs.x & 0xFFFFu), from_bfloat16_bits(pairs.x >> 16),
             from_bfloat16_bits(pairs.y & 0xFFFFu), from_bfloat16_bits(pairs.y >> 16)}};
  } else {
    return {{from_bfloat16_bits(from->bits)}};
  }
}

template <int kWidth>
__device__ __forceinline__ void store(Bfloat16* to, const Chunk<kWidth>& chunk) {
  if constexpr (kWidth == 4)
    *reinterpret_cast<uint2*>(to) = make_uint2(bfloat16_bits(chunk.at[0]) | bfloat16_bits(chunk.at[1]) << 16,
                                               bfloat16_bits(chunk.at[2]) | bfloat16_bits(chunk.at[3]) << 16);
  else
    to->bits = static_cast<uint16_t>(bfloat16_bits(chunk.at[0]));
}

}  // namespace
}  // namespace nerf_ssim
