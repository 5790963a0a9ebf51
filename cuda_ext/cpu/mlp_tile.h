// What the tiles of a small network share: how its matrices lie in memory, and the gradients of its weights.
#pragma once

#include "gemm_tile.h"

namespace nerf_ssim::NERF_SSIM_ISA {

// A row stride of an odd number of cache lines, so that a column of 64-byte pieces uses every set of the first cache.
NERF_SSIM_INLINE int spread_stride(int width) {
  const int lines = round_up(width, 16) / 16;
  return (lines % 2 ? lines : lines + 1) * 16;
}

// Floats of a packed matrix, and the place of the next array in a buffer whose arrays start on cache lines.
NERF_SSIM_INLINE size_t panels_size(int depth, int columns) {
  return static_cast<size_t>(depth) * round_up(columns, kPanelWidth);
}
NERF_SSIM_INLINE size_t place(size_t& end, size_t size) {
  const size_t at = end;
  end += (size + 15) / 16 * 16;
  return at;
}

NERF_SSIM_INLINE Panels packed_panels(const float* data, int depth) {
  return {data, static_cast<int64_t>(depth) * kPanelWidth, kPanelWidth};
}

NERF_SSIM_INLINE Panels plain_panels(const float* data, int64_t stride) { return {data, kPanelWidth, stride}; }

// `value(k, n)` as panels of kPanelWidth columns, missing columns zero.
template <class Value>
NERF_SSIM_INLINE void pack_panels(int depth, int columns, float* to, const Value& value) {
  for (int first = 0; first < columns; first += kPanelWidth)
    for (int k = 0; k < depth; ++k)
      for (int n = first; n < first + kPanelWidth; ++n) *to++ = n < columns ? value(k, n) : 0.0f;
}

// grad_weight[out][in] += sum over the tile of grad_output[s][out] * input[s][in].
NERF_SSIM_INLINE void add_weight_gradient(int count, int outputs, int inputs_padded, const float* grad_output,
                                          int output_stride, const float* input, int input_stride, float* grad_weight) {
  multiply<Order::kByColumn>(outputs, inputs_padded, count, grad_output, output_stride,
                             plain_panels(input, input_stride), [=](int64_t row, int64_t column, Vec sum) {
                               float* to = grad_weight + row * inputs_padded + column;
                               store(to, load(to) + sum);
                             });
}

}  // namespace nerf_ssim::NERF_SSIM_ISA
