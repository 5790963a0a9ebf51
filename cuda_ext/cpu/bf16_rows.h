// The products of a layer in a tile whose rows are bfloat16 numbers: a row is then a left operand as it stands, and
// only the two operands of a weight's gradient are put in another order.
#pragma once

#include "bf16_engines.h"
#include "mlp_tile.h"

namespace nerf_ssim::NERF_SSIM_ISA {

constexpr int kRowUnit = 2 * kTilePairs;  // numbers of a row that a matrix unit takes at once: a cache line

// The left operand of `columns` x `count` from the columns of `count` rows: pairs of rows, transposed.
NERF_SSIM_INLINE void pair_columns(const Bf16* from, int64_t stride, int count, int columns, int32_t* to) {
  const int64_t pairs = padded_pairs(count);
  const auto row_of = [=](int row, int column) {
    HalvesVec halves = {};
    if (row < count) std::memcpy(&halves, from + row * stride + column, sizeof(halves));
    return halves;
  };
  for (int n = 0; n < columns; n += 2 * kLanes)
    for (int p = 0; p < pairs; p += kLanes) {
      IntVec left[kLanes], right[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        const HalvesVec earlier = row_of(2 * (p + i), n), later = row_of(2 * (p + i) + 1, n);
        left[i] = pairs_from<0>(earlier, later);
        right[i] = pairs_from<kLanes>(earlier, later);
      }
      transpose(left);
      transpose(right);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        store(to + (n + i) * pairs + p, left[i]);
        store(to + (n + kLanes + i) * pairs + p, right[i]);
      }
    }
}

// The right operand of `count` x `columns`, in panels, from `count` rows.
NERF_SSIM_INLINE void pair_panels(const Bf16* from, int64_t stride, int count, int columns, int32_t* to) {
  const int pairs = padded_pairs(count);
  for (int panel = 0; panel < columns; panel += kTermColumns)
    for (int p = 0; p < pairs; ++p, to += kTermColumns)
      for (int n = 0; n < kTermColumns; n += 2 * kLanes) {
        HalvesVec earlier = {}, later = {};
        const Bf16* rows = from + 2 * p * stride + panel + n;
        if (2 * p < count) std::memcpy(&earlier, rows, sizeof(earlier));
        if (2 * p + 1 < count) std::memcpy(&later, rows + stride, sizeof(later));
        store(to + n, pairs_from<0>(earlier, later));
        store(to + n + kLanes, pairs_from<kLanes>(earlier, later));
      }
}

template <class Engine>
struct Bf16RowProducts {
  using Number = Bf16;
  static constexpr int kTile = Engine::kSamples;

  static const Bf16* rows(const float* at) { return reinterpret_cast<const Bf16*>(at); }
  static Bf16* rows(float* at) { return reinterpret_cast<Bf16*>(at); }
  static int padded(int width) { return round_up(width, kRowUnit); }

  // An odd number of cache lines, as in spread_stride.
  static int row_stride(int width) {
    const int lines = padded(width) / kRowUnit;
    return (lines % 2 ? lines : lines + 1) * kRowUnit;
  }

  static size_t row_floats(size_t numbers) { return numbers / 2; }
  static size_t weight_floats(int depth, int columns) { return right_terms_size(1, depth, columns); }

  // Both operands of a weight's gradient in a tile of `rows`, of matrices up to `widest` on a side.
  static size_t scratch_floats(int rows, int widest) {
    return static_cast<size_t>(padded_pairs(rows)) * round_up(widest, kRowUnit) + right_terms_size(1, rows, widest);
  }

  template <class Value>
  static NERF_SSIM_INLINE void pack(int depth, int columns, float* to, const Value& value) {
    split_matrix<1>(depth, columns, reinterpret_cast<int32_t*>(to), value);
  }

  template <class Finish>
  static NERF_SSIM_INLINE void multiply(int rows, int columns, int depth, int, int, const Bf16* input, int64_t stride,
                                        const float* weight, float*, const Finish& finish) {
    Engine::template multiply<1>(rows, columns, depth, {reinterpret_cast<const int32_t*>(input), stride / 2, 0},
                                 reinterpret_cast<const int32_t*>(weight), finish);
  }

  static NERF_SSIM_INLINE void weight_gradient(int count, int outputs, int inputs_padded, const Bf16* grad_output,
                                               int output_stride, const Bf16* input, int input_stride,
                                               float* grad_weight, float* scratch) {
    const int64_t pairs = padded_pairs(count);
    int32_t* left = reinterpret_cast<int32_t*>(scratch);
    int32_t* right = left + pairs * round_up(outputs, kRowUnit);
    pair_columns(grad_output, output_stride, count, outputs, left);
    pair_panels(input, input_stride, count, inputs_padded, right);
    Engine::template multiply<1>(outputs, inputs_padded, count, {left, pairs, 0}, right,
                                 [=](int64_t out, int64_t column, Vec sum) {
                                   float* to = grad_weight + out * inputs_padded + column;
                                   store(to, load(to) + sum);
                                 });
  }

  template <class Number>
  static NERF_SSIM_INLINE Number operand(Number value) {
    return rounded_to_bf16(value);
  }
};

}  // namespace nerf_ssim::NERF_SSIM_ISA
