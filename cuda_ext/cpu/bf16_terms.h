// Operands of matrix products as sums of bfloat16 numbers.
//
// A float32 has 24 significant bits, a bfloat16 has 8: `Terms` of them, each the rounded rest of those before, hold 8,
// 16 or all 24. A product of two such operands is the sum of its terms' products, of which those below the last kept
// digit are left out. Operands are kept as pairs:
//   left operand   [term][row][pair], the rows of a tile;
//   right operand  [panel of kTermColumns columns][pair][term][column].
#pragma once

#include "bf16_numbers.h"

namespace nerf_ssim::NERF_SSIM_ISA {

constexpr int kTermColumns = 32;  // two tiles of a matrix unit, two registers of AVX-512
constexpr int kTilePairs = 16;    // a matrix unit takes so many pairs of a row at once; the missing ones are zeros

NERF_SSIM_INLINE int pairs_of(int depth) { return (depth + 1) / 2; }
NERF_SSIM_INLINE int padded_pairs(int depth) { return round_up(pairs_of(depth), kTilePairs); }

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

// The next term of two registers, which are left with the rest; after the last term nobody wants one.
template <bool IsLast>
NERF_SSIM_INLINE IntVec take_pairs(Vec& earlier, Vec& later) {
  if constexpr (IsLast) {
    return rounded_pairs(earlier, later);
  } else {
    const Vec first = rounded_to_bf16(earlier), second = rounded_to_bf16(later);
    earlier -= first;
    later -= second;
    return bits_as<IntVec>((bits_as<BitVec>(first) >> 16) | (bits_as<BitVec>(second) & kUpperHalf));
  }
}

// The same of neighbours along two registers of a row.
template <bool IsLast>
NERF_SSIM_INLINE IntVec take_neighbours(Vec& first, Vec& second) {
  const HalvesVec taken = to_bf16(first, second);
  if constexpr (!IsLast) {
    HalfVec halves[2];
    std::memcpy(halves, &taken, sizeof(taken));
    first -= to_float(halves[0]);
    second -= to_float(halves[1]);
  }
  return bits_as<IntVec>(taken);
}

// Calls work(std::bool_constant, term) for each term; the constant says whether it is the last one.
template <int Terms, class Work>
NERF_SSIM_INLINE void for_each_term(const Work& work) {
  for (int t = 0; t + 1 < Terms; ++t) work(std::false_type(), t);
  work(std::true_type(), Terms - 1);
}

// The numbers from..from + kLanes of a row of `depth`; zeros where it has ended. Whole registers are read.
NERF_SSIM_INLINE Vec load_until(const float* row, int from, int depth) {
  if (from >= depth) return Vec{};
  const Vec values = load(row + from);
  if (from + kLanes <= depth) return values;
  IntVec lane;
  for (int i = 0; i < kLanes; ++i) lane[i] = i;
  return bits_as<Vec>(bits_as<IntVec>(values) & (lane < depth - from));
}

// The left operand of `rows` x `depth` from the rows of a tile. Whole registers of a row are read.
template <int Terms>
NERF_SSIM_INLINE void split_rows(const float* from, int64_t stride, int rows, int depth, int32_t* to, int64_t term) {
  const int numbers = 2 * padded_pairs(depth);
  for (int r = 0; r < rows; ++r, from += stride, to += numbers / 2)
    for (int i = 0; i < numbers; i += 2 * kLanes) {
      Vec first = load_until(from, i, depth), second = load_until(from, i + kLanes, depth);
      for_each_term<Terms>([&](auto is_last, int t) {
        store(to + t * term + i / 2, take_neighbours<decltype(is_last)::value>(first, second));
      });
    }
}

// The left operand of `columns` x `count` from the columns of a tile of `count` rows. Whole registers of columns are
// read.
template <int Terms>
NERF_SSIM_INLINE void split_columns(const float* from, int64_t stride, int count, int columns, int32_t* to,
                                    int64_t term) {
  const int pairs = padded_pairs(count);
  for (int n = 0; n < columns; n += kLanes)
    for (int p = 0; p < pairs; p += kLanes) {
      IntVec block[Terms][kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        const int row = 2 * (p + i);
        Vec earlier = row < count ? load(from + row * stride + n) : Vec{};
        Vec later = row + 1 < count ? load(from + (row + 1) * stride + n) : Vec{};
        for_each_term<Terms>(
            [&](auto is_last, int t) { block[t][i] = take_pairs<decltype(is_last)::value>(earlier, later); });
      }
      for (int t = 0; t < Terms; ++t) {
        transpose(block[t]);
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) store(to + t * term + static_cast<int64_t>(n + i) * pairs + p, block[t][i]);
      }
    }
}

// The right operand of `count` x `columns` from a tile of `count` rows. Whole registers of columns are read.
template <int Terms>
NERF_SSIM_INLINE void split_panels(const float* from, int64_t stride, int count, int columns, int32_t* to) {
  const int pairs = padded_pairs(count);
  for (int panel = 0; panel < columns; panel += kTermColumns)
    for (int p = 0; p < pairs; ++p, to += Terms * kTermColumns)
      for (int n = 0; n < kTermColumns; n += kLanes) {
        const bool is_there = panel + n < columns;
        Vec earlier = is_there && 2 * p < count ? load(from + 2 * p * stride + panel + n) : Vec{};
        Vec later = is_there && 2 * p + 1 < count ? load(from + (2 * p + 1) * stride + panel + n) : Vec{};
        for_each_term<Terms>([&](auto is_last, int t) {
          store(to + t * kTermColumns + n, take_pairs<decltype(is_last)::value>(earlier, later));
        });
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
        for (int t = 0; t < Terms; ++t) {
          const float first = rounded_to_bf16(earlier), second = rounded_to_bf16(later);
          earlier -= first;
          later -= second;
          to[t * kTermColumns + n] =
              static_cast<int32_t>((bits_as<uint32_t>(first) >> 16) | (bits_as<uint32_t>(second) & kUpperHalf));
        }
      }
}

}  // namespace nerf_ssim::NERF_SSIM_ISA
