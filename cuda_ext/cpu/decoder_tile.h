// The colour decoder for one tile of samples, whose activations stay in a core's second-level cache.
//
// Included by levels/networks.h.
#pragma once

#include "decoder_encoding.h"

namespace nerf_ssim::NERF_SSIM_ISA {

// output = relu(input * W^T + bias) for one layer of a tile.
template <class Products>
NERF_SSIM_INLINE void hidden_layer(int count, int inputs, int outputs_padded, const float* input, int input_stride,
                                   const float* weight, const float* bias, float* output, int output_stride,
                                   float* operands) {
  auto* rows = Products::rows(output);
  const auto finish = [=](int64_t row, int64_t column, Vec sum) {
    store(rows + row * output_stride + column, positive_part(sum + load(bias + column)));
  };
  Products::multiply(count, outputs_padded, inputs, 0, inputs, Products::rows(input), input_stride, weight, operands,
                     finish);
}

template <class Products>
NERF_SSIM_INLINE void hidden_layers(const Layout<Products>& at, const float* packed, int count, float* scratch) {
  hidden_layer<Products>(count, at.inputs, at.hidden1_padded, scratch + at.input, at.input_stride,
                         packed + at.w1_forward, packed + at.b1, scratch + at.activation1, at.hidden1_stride,
                         scratch + at.operands);
  hidden_layer<Products>(count, at.hidden1, at.hidden2_padded, scratch + at.activation1, at.hidden1_stride,
                         packed + at.w2_forward, packed + at.b2, scratch + at.activation2, at.hidden2_stride,
                         scratch + at.operands);
}

template <class Products>
inline void forward(const DecoderShape& shape, const float* packed, const DecoderForward& arrays, int64_t begin,
                    int count, float* scratch) {
  const Layout<Products> at(shape);
  encode(shape, at, arrays.features + begin * shape.features, arrays.directions + begin * 3, count, scratch);
  hidden_layers<Products>(at, packed, count, scratch);
  const auto* activation2 = Products::rows(scratch + at.activation2);

  // Last layer: three dot products a sample, then one sigmoid over the tile.
  float* logits = scratch + at.color;
  const float* w3 = packed + at.w3;
  for (int s = 0; s < count; ++s) {
    const auto* row = activation2 + s * at.hidden2_stride;
    Vec sum[kColors] = {};
    for (int i = 0; i < at.hidden2_padded; i += kLanes) {
      const Vec value = load(row + i);
      for (int c = 0; c < kColors; ++c) sum[c] += value * load(w3 + c * at.hidden2_padded + i);
    }
    for (int c = 0; c < kColors; ++c) logits[s * kColors + c] = horizontal_sum(sum[c]) + packed[at.b3 + c];
  }
  for (int i = 0; i < count * kColors; i += kLanes) store(logits + i, sigmoid(load(logits + i)));
  std::memcpy(arrays.rgb + begin * kColors, logits, count * kColors * sizeof(float));
}

// Through the last layer, a register of columns after another: its weights' gradient, the gradient of the second layer,
// which replaces its activation, and that of the second layer's bias.
template <class Products>
NERF_SSIM_INLINE void through_last_layer(const Layout<Products>& at, const float* w3, const float* grad_logits,
                                         int count, float* activation2, float* grad_w3, float* grad_b2) {
  for (int i = 0; i < at.hidden2_padded; i += kLanes) {
    Vec weight[kColors], grad_weight[kColors] = {};
    for (int c = 0; c < kColors; ++c) weight[c] = load(w3 + c * at.hidden2_padded + i);
    Vec bias = load(grad_b2 + i);
    auto* column = Products::rows(activation2) + i;
    for (int s = 0; s < count; ++s, column += at.hidden2_stride) {
      const Vec value = load(column);
      Vec sum = {};
      for (int c = 0; c < kColors; ++c) {
        const float grad = grad_logits[s * kColorStride + c];
        grad_weight[c] += grad * value;
        sum += grad * weight[c];
      }
      const Vec grad_value = value > 0.0f ? sum : Vec{};
      store(column, grad_value);
      bias += grad_value;
    }
    store(grad_b2 + i, bias);
    for (int c = 0; c < kColors; ++c) {
      float* to = grad_w3 + c * at.hidden2_padded + i;
      store(to, load(to) + grad_weight[c]);
    }
  }
}

template <class Products>
inline void backward(const DecoderShape& shape, const float* packed, const DecoderBackward& arrays, int64_t begin,
                     int count, float* scratch, float* gradient) {
  const Layout<Products> at(shape);
  auto* input = Products::rows(scratch + at.input);
  auto* activation1 = Products::rows(scratch + at.activation1);
  auto* activation2 = Products::rows(scratch + at.activation2);
  float* operands = scratch + at.operands;

  // 1. The tile's hidden layers again: fetching and filling the memory to keep them would cost as much.
  encode(shape, at, arrays.features + begin * shape.features, arrays.directions + begin * 3, count, scratch);
  if (arrays.grad_features != nullptr)
    prefetch<true>(arrays.grad_features + begin * shape.features, count * shape.features);
  hidden_layers<Products>(at, packed, count, scratch);

  // 2. Through the sigmoid and the last layer.
  float* grad_logits = scratch + at.color;
  for (int s = 0; s < count; ++s)
    for (int c = 0; c < kColors; ++c) {
      const float color = arrays.rgb[(begin + s) * kColors + c];
      const float grad = arrays.grad_rgb[(begin + s) * kColors + c] * (1.0f - color) * color;
      grad_logits[s * kColorStride + c] = Products::operand(grad);
      gradient[at.grad_b3 + c] += grad;
    }
  through_last_layer(at, packed + at.w3, grad_logits, count, scratch + at.activation2, gradient + at.grad_w3,
                     gradient + at.grad_b2);

  // 3. Layer 2; the gradient of layer 1 replaces its activation.
  Products::weight_gradient(count, at.hidden2, at.hidden1_padded, activation2, at.hidden2_stride, activation1,
                            at.hidden1_stride, gradient + at.grad_w2, operands);
  float* grad_b1 = gradient + at.grad_b1;
  const int64_t stride1 = at.hidden1_stride;
  Products::multiply(count, at.hidden1_padded, at.hidden2, 0, at.hidden2, activation2, at.hidden2_stride,
                     packed + at.w2_backward, operands, [=](int64_t row, int64_t column, Vec sum) {
                       auto* to = activation1 + row * stride1 + column;
                       const Vec grad = load(to) > 0.0f ? sum : Vec{};
                       store(to, grad);
                       store(grad_b1 + column, load(grad_b1 + column) + grad);
                     });

  // 4. Layer 1, and the gradient of the input.
  Products::weight_gradient(count, at.hidden1, at.inputs_padded, activation1, at.hidden1_stride, input, at.input_stride,
                            gradient + at.grad_w1, operands);
  if (arrays.grad_features == nullptr) return;
  float* grad_input = scratch + at.grad_input;
  const int64_t grad_stride = at.grad_input_stride;
  Products::multiply(
      count, at.wanted_padded, at.hidden1, 0, at.hidden1, activation1, at.hidden1_stride, packed + at.w1_backward,
      operands, [=](int64_t row, int64_t column, Vec sum) { store(grad_input + row * grad_stride + column, sum); });
  feature_gradient(shape, at, count, scratch, arrays.grad_features + begin * shape.features);
}

template <class Products>
inline DecoderKernels kernels(const char* name) {
  return {
      name,
      [](const DecoderShape& shape) { return Layout<Products>(shape).packed_size; },
      [](const DecoderShape& shape) { return Layout<Products>(shape).scratch_size; },
      [](const DecoderShape& shape) { return Layout<Products>(shape).gradient_size; },
      Layout<Products>::kTile,
      pack<Products>,
      forward<Products>,
      backward<Products>,
      unpack<Products>,
  };
}

}  // namespace nerf_ssim::NERF_SSIM_ISA
