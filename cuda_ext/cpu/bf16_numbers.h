// Bfloat16 numbers in registers: rounding, pairs, and the product of pairs. Where the level has AVX512_BF16 these are
// its instructions, elsewhere the same results in plain code (but for denormals, which the instructions take for
// zeros).
//
// Bfloat16 units multiply pairs of numbers that are neighbours along the summed dimension, the earlier number in the
// lower half of 32 bits.
#pragma once

#include "gemm_tile.h"

namespace nerf_ssim::NERF_SSIM_ISA {

// A number of a row in memory.
struct Bf16 {
  uint16_t bits;
};

using BitVec = uint32_t __attribute__((vector_size(kLanes * sizeof(uint32_t))));
using HalfVec = uint16_t __attribute__((vector_size(kLanes * sizeof(uint16_t))));        // of one register of floats
using HalvesVec = uint16_t __attribute__((vector_size(2 * kLanes * sizeof(uint16_t))));  // of two
constexpr uint32_t kUpperHalf = 0xffff0000u;

template <class To, class From>
NERF_SSIM_INLINE To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

// The nearest bfloat16, ties to even, as a float32; a NaN stays one. Beyond the largest bfloat16 that is an infinity,
// whose rest, and so the number in several terms, is a NaN.
NERF_SSIM_INLINE float rounded_to_bf16(float value) {
  const uint32_t bits = bits_as<uint32_t>(value);
  return value == value ? bits_as<float>((bits + 0x7fffu + ((bits >> 16) & 1u)) & kUpperHalf) : value;
}

#ifdef NERF_SSIM_HAS_BF16

NERF_SSIM_INLINE HalfVec to_bf16(Vec values) { return (HalfVec)_mm512_cvtneps_pbh((__m512)values); }

NERF_SSIM_INLINE HalvesVec to_bf16(Vec first, Vec second) {
  return (HalvesVec)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
}

#else

NERF_SSIM_INLINE HalfVec to_bf16(Vec values) {
  const BitVec bits = bits_as<BitVec>(values);
  const BitVec rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return __builtin_convertvector(values == values ? rounded : (bits >> 16) | 0x40u, HalfVec);
}

NERF_SSIM_INLINE HalvesVec to_bf16(Vec first, Vec second) {
  const HalfVec halves[2] = {to_bf16(first), to_bf16(second)};
  HalvesVec both;
  std::memcpy(&both, halves, sizeof(both));
  return both;
}

#endif

NERF_SSIM_INLINE Vec to_float(HalfVec halves) { return bits_as<Vec>(__builtin_convertvector(halves, BitVec) << 16); }

NERF_SSIM_INLINE Vec rounded_to_bf16(Vec values) {
#ifdef NERF_SSIM_HAS_BF16
  return to_float(to_bf16(values));
#else
  const BitVec bits = bits_as<BitVec>(values);
  const Vec rounded = bits_as<Vec>((bits + 0x7fffu + ((bits >> 16) & 1u)) & kUpperHalf);
  return values == values ? rounded : values;
#endif
}

// Rows of bfloat16 numbers are read as floats and written rounded.
NERF_SSIM_INLINE Vec load(const Bf16* from) {
  HalfVec halves;
  std::memcpy(&halves, from, sizeof(halves));
  return to_float(halves);
}
NERF_SSIM_INLINE void store(Bf16* to, Vec values) {
  const HalfVec halves = to_bf16(values);
  std::memcpy(to, &halves, sizeof(halves));
}
NERF_SSIM_INLINE void store_one(Bf16* to, float value) {
  to->bits = static_cast<uint16_t>(bits_as<uint32_t>(rounded_to_bf16(value)) >> 16);
}

// first[lane], or second[lane - lanes] beyond the first's, for each number of `lanes`.
template <class Register>
NERF_SSIM_INLINE Register chosen(Register first, Register second, Register lanes) {
#ifndef __clang__
  return __builtin_shuffle(first, second, lanes);
#else
  constexpr int kCount = sizeof(Register) / sizeof(first[0]);
  Register to;
  for (int lane = 0; lane < kCount; ++lane)
    to[lane] = lanes[lane] < kCount ? first[lanes[lane]] : second[lanes[lane] - kCount];
  return to;
#endif
}

// Pairs (earlier[i], later[i]) from i = `From` on.
template <int From>
NERF_SSIM_INLINE IntVec pairs_from(HalvesVec earlier, HalvesVec later) {
  HalvesVec lanes;
  for (int i = 0; i < kLanes; ++i) {
    lanes[2 * i] = static_cast<uint16_t>(From + i);
    lanes[2 * i + 1] = static_cast<uint16_t>(From + i + 2 * kLanes);
  }
  return bits_as<IntVec>(chosen(earlier, later, lanes));
}

// Pairs of two registers, rounded.
NERF_SSIM_INLINE IntVec rounded_pairs(Vec earlier, Vec later) {
  const HalvesVec both = to_bf16(earlier, later);
  HalvesVec lanes;
  for (int i = 0; i < kLanes; ++i) {
    lanes[2 * i] = static_cast<uint16_t>(i);
    lanes[2 * i + 1] = static_cast<uint16_t>(i + kLanes);
  }
  return bits_as<IntVec>(chosen(both, both, lanes));
}

// sum + earlier * earlier + later * later of each pair; denormals may count as zeros.
NERF_SSIM_INLINE Vec dot_pairs(Vec sum, IntVec left, IntVec right) {
#ifdef NERF_SSIM_HAS_BF16
  return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)left, (__m512bh)right);
#else
  const BitVec a = bits_as<BitVec>(left), b = bits_as<BitVec>(right);
  sum += bits_as<Vec>(a << 16) * bits_as<Vec>(b << 16);
  return sum + bits_as<Vec>(a & kUpperHalf) * bits_as<Vec>(b & kUpperHalf);
#endif
}

// rows[i][j] <-> rows[j][i]: exchanges the upper right and the lower left quarter, then those of each quarter … One
// template a size, so that the compiler keeps the rows in registers.
template <int Half = kLanes / 2>
NERF_SSIM_INLINE void transpose(IntVec (&rows)[kLanes]) {
  IntVec upper, lower;
  for (int i = 0; i < kLanes; ++i) {
    upper[i] = i & Half ? i + kLanes - Half : i;
    lower[i] = i & Half ? i + kLanes : i + Half;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if (i & Half) continue;
    const IntVec above = rows[i], below = rows[i + Half];
    rows[i] = chosen(above, below, upper);
    rows[i + Half] = chosen(above, below, lower);
  }
  if constexpr (Half > 1) transpose<Half / 2>(rows);
}

}  // namespace nerf_ssim::NERF_SSIM_ISA
