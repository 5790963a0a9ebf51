// Operands of matrix products as sums of bfloat16 numbers.
//
// A float32 has 24 significant bits, a bfloat16 has 8: `Terms` of them, each the rounded rest of those before, hold 8, 16
// or all 24. A product of two such operands is the sum of its terms' products, of which those below the last kept digit
// are left out. Bfloat16 units multiply pairs of numbers that are neighbours along the summed dimension, so operands are
// kept as 32-bit pairs, the earlier number in the lower half:
//   left operand   [term][row][pair], the rows of a tile;
//   right operand  [panel of kTermColumns columns][pair][term][column].
#pragma once

#include "gemm_tile.h"

namespace nerf_ssim::NERF_SSIM_ISA {

constexpr int kTermColumns = 32;  // two tiles of a matrix unit, two registers of AVX-512
constexpr int kTilePairs = 16;    // a matrix unit takes so many pairs of a row at once; the missing ones are zeros

using BitVec = uint32_t __attribute__((vector_size(kLanes * sizeof(uint32_t))));
using TwoFloatsVec = uint64_t __attribute__((vector_size(kLanes * sizeof(float))));
using PairVec = uint32_t __attribute__((vector_size(kLanes / 2 * sizeof(uint32_t))));
constexpr uint32_t kUpperHalf = 0xffff0000u;

NERF_SSIM_INLINE int pairs_of(int depth) { return (depth + 1) / 2; }
NERF_SSIM_INLINE int padded_pairs(int depth) { return round_up(pairs_of(depth), kTilePairs); }

template <class To, class From>
NERF_SSIM_INLINE To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

// The nearest bfloat16, ties to even, as a float32; a NaN stays one. Beyond the largest bfloat16 that is an infinity, whose
// rest, and so the number in several terms, is a NaN.
NERF_SSIM_INLINE Vec rounded_to_bf16(Vec value) {
  const BitVec bits = bits_as<BitVec>(value);
  const Vec rounded = bits_as<Vec>((bits + 0x7fffu + ((bits >> 16) & 1u)) & kUpperHalf);
  return value == value ? rounded : value;
}

NERF_SSIM_INLINE float rounded_to_bf16(float value) {
  const uint32_t bits = bits_as<uint32_t>(value);
  return value == value ? bits_as<float>((bits + 0x7fffu + ((bits >> 16) & 1u)) & kUpperHalf) : value;
}

// The next term of each number, which is left with the rest; a pair of each two.
NERF_SSIM_INLINE IntVec take_pair(Vec& earlier, Vec& later) {
  const Vec first = rounded_to_bf16(earlier), second = rounded_to_bf16(later);
  earlier -= first;
  later -= second;
  return bits_as<IntVec>((bits_as<BitVec>(first) >> 16) | (bits_as<BitVec>(second) & kUpperHalf));
}

NERF_SSIM_INLINE int32_t take_pair(float& earlier, float& later) {
  const float first = rounded_to_bf16(earlier), second = rounded_to_bf16(later);
  earlier -= first;
  later -= second;
  return static_cast<int32_t>((bits_as<uint32_t>(first) >> 16) | (bits_as<uint32_t>(second) & kUpperHalf));
}

// The same of neighbours in one vector.
NERF_SSIM_INLINE PairVec take_neighbours(Vec& values) {
  const Vec rounded = rounded_to_bf16(values);
  values -= rounded;
  const TwoFloatsVec two = bits_as<TwoFloatsVec>(rounded);
  return __builtin_convertvector(((two >> 16) & 0xffffu) | ((two >> 32) & kUpperHalf), PairVec);
}

// The last terms, whose rest nobody wants: where the processor rounds by itself, that is most of the work saved.
NERF_SSIM_INLINE IntVec last_pair(Vec earlier, Vec later) {
#ifdef NERF_SSIM_HAS_BF16
  const __m512i first = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)earlier));
  const __m512i second = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)later));
  return (IntVec)_mm512_or_si512(first, _mm512_slli_epi32(second, 16));
#else
  return take_pair(earlier, later);
#endif
}

NERF_SSIM_INLINE PairVec last_neighbours(Vec values) {
#ifdef NERF_SSIM_HAS_BF16
  return (PairVec)_mm512_cvtneps_pbh((__m512)values);
#else
  return take_neighbours(values);
#endif
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

// A left operand: distances in pairs.
struct LeftTerms {
  const int32_t* data;
  int64_t row;
  int64_t term;
};

// Pairs of a right operand.
NERF_SSIM_INLINE size_t right_terms_size(int terms, int depth, int columns) {
  return static_cast<size_t>(terms) * padded_pairs(depth) * round_up(columns, kTermColumns);
}

// The left operand of `rows` x `depth` from the rows of a tile.
template <int Terms>
NERF_SSIM_INLINE void split_rows(const float* from, int64_t stride, int rows, int depth, int32_t* to, int64_t term) {
  const int pairs = padded_pairs(depth);
  alignas(64) float padded[2 * kTilePairs];
  for (int r = 0; r < rows; ++r, from += stride, to += pairs)
    for (int p = 0; p < pairs; p += kTilePairs) {
      const float* values = from + 2 * p;
      if (2 * (p + kTilePairs) > depth) {  // the last ones: zeros where the row has ended
        std::memset(padded, 0, sizeof(padded));
        if (2 * p < depth) std::memcpy(padded, values, (depth - 2 * p) * sizeof(float));
        values = padded;
      }
      for (int i = 0; i < 2 * kTilePairs; i += kLanes) {
        Vec rest = load(values + i);
        for (int t = 0; t < Terms; ++t) {
          const PairVec taken = t + 1 < Terms ? take_neighbours(rest) : last_neighbours(rest);
          std::memcpy(to + t * term + p + i / 2, &taken, sizeof(taken));
        }
      }
    }
}

// first[lane] or second[lane - kLanes] for each number of `lanes`.
NERF_SSIM_INLINE IntVec chosen(IntVec first, IntVec second, IntVec lanes) {
#ifndef __clang__
  return __builtin_shuffle(first, second, lanes);
#else
  IntVec to;
  for (int lane = 0; lane < kLanes; ++lane)
    to[lane] = lanes[lane] < kLanes ? first[lanes[lane]] : second[lanes[lane] - kLanes];
  return to;
#endif
}

// rows[i][j] <-> rows[j][i]: exchanges the upper right and the lower left quarter, then those of each quarter …
NERF_SSIM_INLINE void transpose(IntVec (&rows)[kLanes]) {
  IntVec lane;
  for (int i = 0; i < kLanes; ++i) lane[i] = i;
  for (int half = kLanes / 2; half > 0; half /= 2) {
    const IntVec is_right = (lane & half) != 0;
    const IntVec upper = is_right ? lane + (kLanes - half) : lane, lower = is_right ? lane + kLanes : lane + half;
    for (int i = 0; i < kLanes; ++i) {
      if (i & half) continue;
      const IntVec above = rows[i], below = rows[i + half];
      rows[i] = chosen(above, below, upper);
      rows[i + half] = chosen(above, below, lower);
    }
  }
}

// The left operand of `columns` x `count` from the columns of a tile of `count` rows. Whole vectors of columns are read.
template <int Terms>
NERF_SSIM_INLINE void split_columns(
    const float* from, int64_t stride, int count, int columns, int32_t* to, int64_t term) {
  const int pairs = padded_pairs(count);
  for (int n = 0; n < columns; n += kLanes)
    for (int p = 0; p < pairs; p += kLanes) {
      IntVec block[Terms][kLanes];
      for (int i = 0; i < kLanes; ++i) {
        const int row = 2 * (p + i);
        Vec earlier = row < count ? load(from + row * stride + n) : Vec{};
        Vec later = row + 1 < count ? load(from + (row + 1) * stride + n) : Vec{};
        for (int t = 0; t < Terms; ++t)
          block[t][i] = t + 1 < Terms ? take_pair(earlier, later) : last_pair(earlier, later);
      }
      for (int t = 0; t < Terms; ++t) {
        transpose(block[t]);
        for (int i = 0; i < kLanes; ++i) store(to + t * term + static_cast<int64_t>(n + i) * pairs + p, block[t][i]);
      }
    }
}

// The right operand of `count` x `columns` from a tile of `count` rows. Whole vectors of columns are read.
template <int Terms>
NERF_SSIM_INLINE void split_panels(const float* from, int64_t stride, int count, int columns, int32_t* to) {
  const int pairs = padded_pairs(count);
  for (int panel = 0; panel < columns; panel += kTermColumns)
    for (int p = 0; p < pairs; ++p, to += Terms * kTermColumns)
      for (int n = 0; n < kTermColumns; n += kLanes) {
        const bool is_there = panel + n < columns;
        Vec earlier = is_there && 2 * p < count ? load(from + 2 * p * stride + panel + n) : Vec{};
        Vec later = is_there && 2 * p + 1 < count ? load(from + (2 * p + 1) * stride + panel + n) : Vec{};
        for (int t = 0; t < Terms; ++t)
          store(to + t * kTermColumns + n, t + 1 < Terms ? take_pair(earlier, later) : last_pair(earlier, later));
      }
}

// The right operand of `value(k, n)`.
template <int Terms, class Value>
NERF_SSIM_INLINE void split_matrix(int depth, int columns, int32_t* to, const Value& value) {
  const auto at = [&](int k, int n) { return k < depth && n < columns ? value(k, n) : 0.0f; };
  for (int panel = 0; panel < columns; panel += kTermColumns)
    for (int p = 0; p < padded_pairs(depth); ++p, to += Terms * kTermColumns)
      for (int n = 0; n < kTermColumns; ++n) {
        float earlier = at(2 * p, panel + n), later = at(2 * p + 1, panel + n);
        for (int t = 0; t < Terms; ++t) to[t * kTermColumns + n] = take_pair(earlier, later);
      }
}

}  // namespace nerf_ssim::NERF_SSIM_ISA
