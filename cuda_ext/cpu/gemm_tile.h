// Matrix products of one tile of samples, small enough to live in a core's second-level cache.
//
// C[m][n] = sum over k of A(m, k) * B[k][n]. A block of kBlockRows x 2 vector registers of C stays in registers
// while k runs; each step loads two vectors of B and broadcasts one number of A per row.
#pragma once

#include "gemm_vector.h"

namespace nerf_ssim::NERF_SSIM_ISA {

constexpr int kBlockRows = 6;  // 6 x 2 accumulators + 2 of B + 1 of A = 15 of the 16 registers that AVX2 has
constexpr int kPanelWidth = 2 * kLanes;

NERF_SSIM_INLINE int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

// How A is stored: kByRow has A(m, k) = a[m * stride + k]; kByColumn has A(m, k) = a[k * stride + m].
enum class Order { kByRow, kByColumn };

// Where a matrix B[k][n] lies: columns in panels of kPanelWidth; row k of panel p starts at data[p * panel + k * row].
struct Panels {
  const float* data;
  int64_t panel;
  int64_t row;
};

template <int Rows, int Vectors, Order kOrder, class Finish>
NERF_SSIM_INLINE void multiply_block(int depth, const float* a, int64_t stride, const float* b, int64_t b_row, int row,
                                     int column, const Finish& finish) {
  Vec sum[Rows][Vectors] = {};
  for (int k = 0; k < depth; ++k) {
    Vec right[Vectors];
    for (int v = 0; v < Vectors; ++v) right[v] = load(b + v * kLanes);
    for (int r = 0; r < Rows; ++r) {
      const Vec left = broadcast(kOrder == Order::kByRow ? a[r * stride] : a[r]);
      for (int v = 0; v < Vectors; ++v) sum[r][v] += left * right[v];
    }
    b += b_row;
    a += kOrder == Order::kByRow ? 1 : stride;
  }
  for (int r = 0; r < Rows; ++r)
    for (int v = 0; v < Vectors; ++v) finish(row + r, column + v * kLanes, sum[r][v]);
}

template <int Vectors, Order kOrder, class Finish>
NERF_SSIM_INLINE void multiply_panel(int rows, int depth, const float* a, int64_t stride, const float* b, int64_t b_row,
                                     int column, const Finish& finish) {
  const int64_t step = kOrder == Order::kByRow ? stride : 1;
  int row = 0;
  // Eight rows are left to two blocks of four: one of six and one of two would wait for the two rows' few sums.
  for (; row + kBlockRows <= rows && row + 8 != rows; row += kBlockRows)
    multiply_block<kBlockRows, Vectors, kOrder>(depth, a + row * step, stride, b, b_row, row, column, finish);
  for (; row + 4 <= rows; row += 4)
    multiply_block<4, Vectors, kOrder>(depth, a + row * step, stride, b, b_row, row, column, finish);
  for (; row + 2 <= rows; row += 2)
    multiply_block<2, Vectors, kOrder>(depth, a + row * step, stride, b, b_row, row, column, finish);
  if (row < rows) multiply_block<1, Vectors, kOrder>(depth, a + row * step, stride, b, b_row, row, column, finish);
}

// C of `rows` x `columns` (a multiple of kLanes); `finish(row, column, vector)` takes each result.
template <Order kOrder, class Finish>
NERF_SSIM_INLINE void multiply(int rows, int columns, int depth, const float* a, int64_t stride, Panels b,
                               const Finish& finish) {
  int column = 0;
  for (; column + kPanelWidth <= columns; column += kPanelWidth, b.data += b.panel)
    multiply_panel<2, kOrder>(rows, depth, a, stride, b.data, b.row, column, finish);
  if (column < columns) multiply_panel<1, kOrder>(rows, depth, a, stride, b.data, b.row, column, finish);
}

}  // namespace nerf_ssim::NERF_SSIM_ISA
