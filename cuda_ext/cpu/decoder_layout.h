// Where the colour decoder's arrays lie in memory, and its weights packed and their gradients unpacked.
//
// Inside, the input's columns are reordered to
// [features, sin PE(features), cos PE(features), direction, sin PE(direction), cos PE(direction)], so that the columns
// whose gradient is wanted come first; weights are permuted when packed and their gradients when unpacked.
//
// `Products` (products.h, bf16_rows.h) says how a tile's rows are kept: as float32, or as bfloat16 numbers.
#pragma once

#include "bf16_rows.h"
#include "decoder.h"
#include "products.h"

namespace nerf_ssim::NERF_SSIM_ISA {

constexpr int kColors = 3;
constexpr int kColorStride = 4;

// Sizes and offsets (in floats) of the packed weights, of a thread's scratch and of its gradient sums.
template <class Products>
struct Layout {
  using Number = typename Products::Number;
  static constexpr bool kIsFloat = std::is_same_v<Number, float>;
  static constexpr int kTile = Products::kTile;

  int inputs, inputs_padded, wanted, wanted_padded, hidden1, hidden1_padded, hidden2, hidden2_padded;
  int input_stride, hidden1_stride, hidden2_stride;  // of rows, in their own numbers
  int encoding_stride, grad_input_stride;            // in floats
  size_t w1_forward, w2_forward, w1_backward, w2_backward, w3, b1, b2, b3, packed_size;
  size_t input, activation1, activation2, color, angles, products, plain, sines, cosines, grad_input, operands;
  size_t scratch_size;
  size_t grad_w1, grad_w2, grad_w3, grad_b1, grad_b2, grad_b3, gradient_size;

  explicit Layout(const DecoderShape& shape)
      : inputs(shape.inputs()),
        inputs_padded(round_up(inputs, kLanes)),
        wanted(shape.features + 2 * shape.feature_angles()),
        wanted_padded(round_up(wanted, kLanes)),
        hidden1(shape.hidden1),
        hidden1_padded(round_up(hidden1, kLanes)),
        hidden2(shape.hidden2),
        hidden2_padded(round_up(hidden2, kLanes)),
        input_stride(Products::row_stride(inputs)),
        hidden1_stride(Products::row_stride(hidden1)),
        hidden2_stride(Products::row_stride(kIsFloat && wanted > hidden2 ? wanted : hidden2)) {
    place_weights();
    place_scratch(shape);
    place_gradients();
  }

 private:
  void place_weights() {
    size_t end = 0;
    w1_forward = place(end, Products::weight_floats(inputs, hidden1));
    w2_forward = place(end, Products::weight_floats(hidden1, hidden2));
    w1_backward = place(end, Products::weight_floats(hidden1, wanted));
    w2_backward = place(end, Products::weight_floats(hidden2, hidden1));
    w3 = place(end, kColors * hidden2_padded);
    b1 = place(end, hidden1_padded);
    b2 = place(end, hidden2_padded);
    b3 = place(end, kColorStride);
    packed_size = end;
  }

  // Whole registers are written beyond the ends of some rows, hence the kLanes more.
  void place_scratch(const DecoderShape& shape) {
    const int angles_of_features = shape.feature_angles();
    size_t end = 0;
    input = place(end, Products::row_floats(kTile * input_stride) + kLanes);
    activation1 = place(end, Products::row_floats(kTile * hidden1_stride));
    activation2 = place(end, Products::row_floats(kTile * hidden2_stride));
    color = place(end, kTile * kColorStride);
    angles = products = place(end, kTile * (angles_of_features + shape.view_angles()) + kLanes);
    plain = place(end, kTile * shape.features + kLanes);
    if constexpr (kIsFloat) {  // the input's own columns; its gradient takes the place of the second layer's
      encoding_stride = input_stride;
      sines = input + shape.features;
      cosines = sines + angles_of_features;
      grad_input_stride = hidden2_stride;
      grad_input = activation2;
    } else {
      encoding_stride = round_up(angles_of_features, kLanes);
      sines = place(end, kTile * encoding_stride);
      cosines = place(end, kTile * encoding_stride);
      grad_input_stride = spread_stride(wanted_padded);
      grad_input = place(end, kTile * grad_input_stride + kLanes);
    }
    const int widest = inputs > hidden1 ? inputs : hidden1;
    operands = place(end, Products::scratch_floats(kTile, widest > hidden2 ? widest : hidden2));
    scratch_size = end;
  }

  void place_gradients() {
    size_t end = 0;
    grad_w1 = place(end, hidden1 * inputs_padded);
    grad_w2 = place(end, hidden2 * hidden1_padded);
    grad_w3 = place(end, kColors * hidden2_padded);
    grad_b1 = place(end, hidden1_padded);
    grad_b2 = place(end, hidden2_padded);
    grad_b3 = place(end, kColorStride);
    gradient_size = end;
  }
};

// The caller's column of the input for each of our columns.
NERF_SSIM_INLINE int caller_column(const DecoderShape& shape, int column) {
  const int encoded = 2 * shape.feature_angles();
  if (column < shape.features) return column;
  if (column < shape.features + encoded) return column + 3;            // our encoding stands where the direction was
  if (column < shape.features + encoded + 3) return column - encoded;  // our direction stands after it
  return column;
}

template <class Products>
inline void pack(const DecoderShape& shape, const DecoderWeights& weights, float* packed) {
  const Layout<Products> at(shape);
  std::memset(packed, 0, at.packed_size * sizeof(float));
  const auto w1 = [&](int out, int in) { return weights.w1[out * at.inputs + caller_column(shape, in)]; };
  const auto w2 = [&](int out, int in) { return weights.w2[out * at.hidden1 + in]; };
  Products::pack(at.inputs, at.hidden1, packed + at.w1_forward, [&](int k, int n) { return w1(n, k); });
  Products::pack(at.hidden1, at.hidden2, packed + at.w2_forward, [&](int k, int n) { return w2(n, k); });
  Products::pack(at.hidden1, at.wanted, packed + at.w1_backward, [&](int k, int n) { return w1(k, n); });
  Products::pack(at.hidden2, at.hidden1, packed + at.w2_backward, [&](int k, int n) { return w2(k, n); });
  for (int c = 0; c < kColors; ++c) {
    float* row = packed + at.w3 + c * at.hidden2_padded;
    std::memcpy(row, weights.w3 + c * at.hidden2, at.hidden2 * sizeof(float));
    for (int i = 0; i < at.hidden2_padded; i += kLanes) store(row + i, Products::operand(load(row + i)));
  }
  std::memcpy(packed + at.b1, weights.b1, at.hidden1 * sizeof(float));
  std::memcpy(packed + at.b2, weights.b2, at.hidden2 * sizeof(float));
  std::memcpy(packed + at.b3, weights.b3, kColors * sizeof(float));
}

// Copies rows of `width` floats from a strided array into a contiguous one.
NERF_SSIM_INLINE void gather_rows(const float* from, int count, int width, int stride, float* to) {
  for (int s = 0; s < count; ++s) std::memcpy(to + s * width, from + s * stride, width * sizeof(float));
}

template <class Products>
inline void unpack(const DecoderShape& shape, const float* gradient, const DecoderWeightGradients& to) {
  const Layout<Products> at(shape);
  for (int out = 0; out < at.hidden1; ++out)
    for (int in = 0; in < at.inputs; ++in)
      to.w1[out * at.inputs + caller_column(shape, in)] = gradient[at.grad_w1 + out * at.inputs_padded + in];
  gather_rows(gradient + at.grad_w2, at.hidden2, at.hidden1, at.hidden1_padded, to.w2);
  gather_rows(gradient + at.grad_w3, kColors, at.hidden2, at.hidden2_padded, to.w3);
  std::memcpy(to.b1, gradient + at.grad_b1, at.hidden1 * sizeof(float));
  std::memcpy(to.b2, gradient + at.grad_b2, at.hidden2 * sizeof(float));
  std::memcpy(to.b3, gradient + at.grad_b3, kColors * sizeof(float));
}

}  // namespace nerf_ssim::NERF_SSIM_ISA
