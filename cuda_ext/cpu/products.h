// The three products of a layer in a tile: its output, the gradient of its input and that of its weights, in float32 or
// in bfloat16 terms. A network's tile code is written once, with one of these as its parameter, or with that of
// bf16_rows.h.
#pragma once

#include "bf16_engines.h"
#include "mlp_tile.h"

namespace nerf_ssim::NERF_SSIM_ISA {

struct Float32Products {
  using Number = float;              // of a tile's rows
  static constexpr int kTile = 144;  // samples: 24 register blocks; tiles of 48 to 288 take as long, about
  static constexpr int kPiece =
      256;  // rows of a weight that one call multiplies: they fill half of a first-level cache

  static const float* rows(const float* at) { return at; }
  static float* rows(float* at) { return at; }
  static int padded(int width) { return round_up(width, kLanes); }
  static int row_stride(int width) { return spread_stride(width); }
  static size_t row_floats(size_t numbers) { return numbers; }

  static size_t weight_floats(int depth, int columns) { return panels_size(depth, columns); }
  static size_t scratch_floats(int, int) { return 0; }

  // `value(k, n)`, packed for `multiply`.
  template <class Value>
  static NERF_SSIM_INLINE void pack(int depth, int columns, float* to, const Value& value) {
    pack_panels(depth, columns, to, value);
  }

  // finish(row, column, sum): the tile's rows times rows `first` … `first + piece` of a packed weight.
  template <class Finish>
  static NERF_SSIM_INLINE void multiply(int rows, int columns, int depth, int first, int piece, const float* input,
                                        int64_t stride, const float* weight, float*, const Finish& finish) {
    Panels panels = packed_panels(weight, depth);
    panels.data += static_cast<int64_t>(first) * panels.row;
    nerf_ssim::NERF_SSIM_ISA::multiply<Order::kByRow>(rows, columns, piece, input + first, stride, panels, finish);
  }

  static NERF_SSIM_INLINE void weight_gradient(int count, int outputs, int inputs_padded, const float* grad_output,
                                               int output_stride, const float* input, int input_stride,
                                               float* grad_weight, float*) {
    add_weight_gradient(count, outputs, inputs_padded, grad_output, output_stride, input, input_stride, grad_weight);
  }

  // What a product sees of a number.
  template <class Number>
  static NERF_SSIM_INLINE Number operand(Number value) {
    return value;
  }
};

template <int Terms, class Engine>
struct Bf16Products {
  static constexpr int kPiece = 1 << 30;  // whole weights

  static size_t weight_floats(int depth, int columns) { return right_terms_size(Terms, depth, columns); }

  // Both operands of a product of a tile of `rows` and matrices up to `widest` on a side.
  static size_t scratch_floats(int rows, int widest) {
    return left_floats(rows, widest) + right_terms_size(Terms, rows, widest);
  }

  template <class Value>
  static NERF_SSIM_INLINE void pack(int depth, int columns, float* to, const Value& value) {
    split_matrix<Terms>(depth, columns, reinterpret_cast<int32_t*>(to), value);
  }

  template <class Finish>
  static NERF_SSIM_INLINE void multiply(int rows, int columns, int depth, int, int, const float* input, int64_t stride,
                                        const float* weight, float* scratch, const Finish& finish) {
    int32_t* left = reinterpret_cast<int32_t*>(scratch);
    const int64_t row = padded_pairs(depth), term = row * round_up(rows, 32);
    split_rows<Terms>(input, stride, rows, depth, left, term);
    Engine::template multiply<Terms>(rows, columns, depth, {left, row, term}, reinterpret_cast<const int32_t*>(weight),
                                     finish);
  }

  static NERF_SSIM_INLINE void weight_gradient(int count, int outputs, int inputs_padded, const float* grad_output,
                                               int output_stride, const float* input, int input_stride,
                                               float* grad_weight, float* scratch) {
    int32_t* left = reinterpret_cast<int32_t*>(scratch);
    const int64_t row = padded_pairs(count), term = row * round_up(outputs, 32);
    int32_t* right = left + Terms * term;
    split_columns<Terms>(grad_output, output_stride, count, outputs, left, term);
    split_panels<Terms>(input, input_stride, count, inputs_padded, right);
    Engine::template multiply<Terms>(outputs, inputs_padded, count, {left, row, term}, right,
                                     [=](int64_t out, int64_t column, Vec sum) {
                                       float* to = grad_weight + out * inputs_padded + column;
                                       store(to, load(to) + sum);
                                     });
  }

 private:
  static size_t left_floats(int rows, int widest) {
    const size_t of_rows = static_cast<size_t>(padded_pairs(widest)) * round_up(rows, 32);
    const size_t of_columns = static_cast<size_t>(padded_pairs(rows)) * round_up(widest, 32);
    return Terms * (of_rows > of_columns ? of_rows : of_columns);
  }
};

}  // namespace nerf_ssim::NERF_SSIM_ISA
