// A vector register of floats for the instruction set that the including file is compiled for, and the
// functions that the decoder and Adam need on it. Written with GCC/Clang vector extensions, so that the same
// text becomes SSE2, AVX2 or AVX-512 code.
//
// Include it only from an instruction-set unit, which first selects the target (`#pragma GCC target`) and defines
// NERF_SSIM_ISA (a namespace: the linker can then never hand code for one instruction set to another),
// NERF_SSIM_LANES (floats in a register) and NERF_SSIM_HAS_FMA. (The compiler's own macros do not follow an
// `arch=` pragma.)
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if !defined(NERF_SSIM_ISA) || !defined(NERF_SSIM_LANES) || !defined(NERF_SSIM_HAS_FMA)
#error "define NERF_SSIM_ISA, NERF_SSIM_LANES and NERF_SSIM_HAS_FMA before including gemm_vector.h"
#endif

#define NERF_SSIM_INLINE inline __attribute__((always_inline))

namespace nerf_ssim::NERF_SSIM_ISA {

constexpr int kLanes = NERF_SSIM_LANES;
constexpr bool kHasFma = NERF_SSIM_HAS_FMA;

using Vec = float __attribute__((vector_size(kLanes * sizeof(float))));
using IntVec = int32_t __attribute__((vector_size(kLanes * sizeof(float))));
using UnalignedIntVec = int32_t __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));
using UnalignedVec = float __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));

NERF_SSIM_INLINE Vec load(const float* from) { return *reinterpret_cast<const UnalignedVec*>(from); }
NERF_SSIM_INLINE void store(float* to, Vec value) { *reinterpret_cast<UnalignedVec*>(to) = value; }
NERF_SSIM_INLINE void store_one(float* to, float value) { *to = value; }
NERF_SSIM_INLINE IntVec load(const int32_t* from) { return *reinterpret_cast<const UnalignedIntVec*>(from); }
NERF_SSIM_INLINE void store(int32_t* to, IntVec value) { *reinterpret_cast<UnalignedIntVec*>(to) = value; }
// Asks for memory that is needed later: it is on its way while something else is computed.
template <bool IsWritten>
NERF_SSIM_INLINE void prefetch(const float* from, int64_t count) {
  constexpr int kLine = 16;
  for (int64_t i = 0; i < count; i += kLine) __builtin_prefetch(from + i, IsWritten, 2);
}
NERF_SSIM_INLINE Vec broadcast(float value) { return value - Vec{}; }
NERF_SSIM_INLINE Vec positive_part(Vec value) { return value < 0.0f ? Vec{} : value; }  // a NaN stays one

NERF_SSIM_INLINE float horizontal_sum(Vec value) {
  using Quad = float __attribute__((vector_size(16)));
  Quad quads[kLanes / 4];
  std::memcpy(quads, &value, sizeof(quads));
  for (int width = kLanes / 8; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) quads[i] += quads[i + width];
  return (quads[0][0] + quads[0][2]) + (quads[0][1] + quads[0][3]);
}

// e^x to about 1 ulp for -87 <= x <= 88; beyond, the nearest of those two (so never an infinity or a denormal).
NERF_SSIM_INLINE Vec exponential(Vec x) {
  x = x < -87.0f ? broadcast(-87.0f) : x;
  x = x > 88.0f ? broadcast(88.0f) : x;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  const Vec shifted = x * 1.44269504088896341f + kRound;
  const Vec power = shifted - kRound;
  const Vec rest = (x - power * 0.693359375f) + power * 2.12194440e-4f;
  Vec series = broadcast(1.9875691500e-4f);
  series = series * rest + 1.3981999507e-3f;
  series = series * rest + 8.3334519073e-3f;
  series = series * rest + 4.1665795894e-2f;
  series = series * rest + 1.6666665459e-1f;
  series = series * rest + 5.0000001201e-1f;
  series = series * (rest * rest) + rest + 1.0f;
  const IntVec exponent = (__builtin_convertvector(power, IntVec) + 127) << 23;
  Vec scale;
  std::memcpy(&scale, &exponent, sizeof(scale));
  return series * scale;
}

NERF_SSIM_INLINE Vec sigmoid(Vec x) { return 1.0f / (1.0f + exponential(-x)); }

// `value`, or -value where the highest bit is set.
NERF_SSIM_INLINE Vec with_sign_of(Vec value, IntVec bits) {
  IntVec of_value;
  std::memcpy(&of_value, &value, sizeof(of_value));
  of_value ^= bits & INT32_MIN;
  std::memcpy(&value, &of_value, sizeof(value));
  return value;
}

// Largest |x| that sine_cosine takes: the quarter-turn count stays below 2^13 and the reduced angle exact to rounding.
constexpr float kLargestAngle = 8192.0f;

// Sine and cosine to 2 ulp for |x| <= kLargestAngle. Needs fused multiply-add: each step of the range reduction
// relies on the product not being rounded. (Cody and Waite reduction; polynomials of Cephes' sinf and cosf.)
NERF_SSIM_INLINE void sine_cosine(Vec x, Vec& sine, Vec& cosine) {
  constexpr float kRound = 12582912.0f;
  const Vec shifted = x * 0.636619772367581343f + kRound;
  const Vec turns = shifted - kRound;
  IntVec quarter;
  std::memcpy(&quarter, &shifted, sizeof(quarter));
  Vec rest = x - turns * 1.57079637050628662109375f;
  rest = rest - turns * -4.37113900018624283e-8f;
  rest = rest - turns * -1.71512449e-15f;
  const Vec square = rest * rest;
  Vec odd = broadcast(-1.9515295891e-4f);
  odd = odd * square + 8.3321608736e-3f;
  odd = odd * square - 1.6666654611e-1f;
  odd = odd * square * rest + rest;
  Vec even = broadcast(2.443315711809948e-5f);
  even = even * square - 1.388731625493765e-3f;
  even = even * square + 4.166664568298827e-2f;
  even = even * (square * square) + (1.0f - 0.5f * square);
  const IntVec is_swapped = (quarter & 1) != 0;
  sine = with_sign_of(is_swapped ? even : odd, quarter << 30);
  cosine = with_sign_of(is_swapped ? odd : even, (quarter + 1) << 30);
}

// Whether sine_cosine takes all of `count` angles; the array is padded to a multiple of kLanes with zeros.
NERF_SSIM_INLINE bool are_small(const float* angles, int count) {
  IntVec is_small = IntVec{} - 1;
  for (int i = 0; i < count; i += kLanes) {
    const Vec angle = load(angles + i);
    is_small &= (angle <= kLargestAngle) & (angle >= -kLargestAngle);
  }
  bool all_small = kHasFma;
  for (int lane = 0; lane < kLanes; ++lane) all_small = all_small && is_small[lane] != 0;
  return all_small;
}

// The library's own functions, one angle at a time: for those that are huge or not finite, and where there is no fused
// multiply-add.
NERF_SSIM_INLINE void sine_cosine_by_library(Vec x, Vec& sine, Vec& cosine) {
  sine = cosine = Vec{};
  for (int lane = 0; lane < kLanes; ++lane) {
    sine[lane] = std::sin(x[lane]);
    cosine[lane] = std::cos(x[lane]);
  }
}

template <bool AreSmall>
NERF_SSIM_INLINE void sine_cosine_of(Vec x, Vec& sine, Vec& cosine) {
  if constexpr (AreSmall)
    sine_cosine(x, sine, cosine);
  else
    sine_cosine_by_library(x, sine, cosine);
}

template <bool AreSmall>
NERF_SSIM_INLINE void sine_cosine_array(const float* angles, int count, float* sines, float* cosines) {
  for (int i = 0; i < count; i += kLanes) {
    Vec sine, cosine;
    sine_cosine_of<AreSmall>(load(angles + i), sine, cosine);
    store(sines + i, sine);
    store(cosines + i, cosine);
  }
}

// Sines and cosines of `count` angles. The three arrays are padded to a multiple of kLanes, the angles with zeros.
NERF_SSIM_INLINE void sine_cosine_array(const float* angles, int count, float* sines, float* cosines) {
  if (are_small(angles, count))
    sine_cosine_array<true>(angles, count, sines, cosines);
  else
    sine_cosine_array<false>(angles, count, sines, cosines);
}

}  // namespace nerf_ssim::NERF_SSIM_ISA
