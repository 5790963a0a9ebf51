// The colour decoder for one tile of samples, whose activations stay in a core's second-level cache.
//
// Included by levels/kernels.h. Inside, the input's columns are reordered to
// [features, sin PE(features), cos PE(features), direction, sin PE(direction), cos PE(direction)], so that the columns
// whose gradient is wanted come first; weights are permuted when packed and their gradients when unpacked.
#pragma once

#include "decoder.h"
#include "products.h"

namespace nerf_ssim::NERF_SSIM_ISA {

constexpr int kTile = 144;  // 24 register blocks; tiles of 48 to 288 time alike, this one best by a little
constexpr int kColors = 3;
constexpr int kColorStride = 4;

// Sizes and offsets (in floats) of the packed weights, of a thread's scratch and of its gradient sums.
template <class Products>
struct Layout {
  int inputs, inputs_padded, wanted, wanted_padded, hidden1, hidden1_padded, hidden2, hidden2_padded;
  int input_stride, hidden1_stride, hidden2_stride;
  size_t w1_forward, w2_forward, w1_backward, w2_backward, w3, b1, b2, b3, packed_size;
  size_t input, activation1, activation2, color, angles, sines, cosines, operands, scratch_size;
  size_t grad_w1, grad_w2, grad_w3, grad_b1, grad_b2, grad_b3, gradient_size;

  explicit Layout(const DecoderShape& shape)
      : inputs(shape.inputs()), inputs_padded(round_up(inputs, kLanes)),
        wanted(shape.features + 2 * shape.feature_angles()), wanted_padded(round_up(wanted, kLanes)),
        hidden1(shape.hidden1), hidden1_padded(round_up(hidden1, kLanes)),
        hidden2(shape.hidden2), hidden2_padded(round_up(hidden2, kLanes)),
        input_stride(spread_stride(inputs_padded)), hidden1_stride(spread_stride(hidden1_padded)),
        hidden2_stride(spread_stride(hidden2_padded > wanted_padded ? hidden2_padded : wanted_padded)) {
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

    end = 0;
    const int angle_count = round_up(kTile * (shape.feature_angles() + shape.view_angles()), kLanes);
    input = place(end, kTile * input_stride);
    activation1 = place(end, kTile * hidden1_stride);
    activation2 = place(end, kTile * hidden2_stride);
    color = place(end, kTile * kColorStride);
    angles = place(end, angle_count);
    sines = place(end, angle_count);
    cosines = place(end, angle_count + kLanes);
    const int widest = inputs > hidden1 ? inputs : hidden1;
    operands = place(end, Products::scratch_floats(kTile, widest > hidden2 ? widest : hidden2));
    scratch_size = end;

    end = 0;
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

// Angles of `count` rows of `width` values (value * 1, 2, 4 …), written one after the other; returns how many.
NERF_SSIM_INLINE int octaves(const float* values, int64_t count, int frequencies, float* angles) {
  int64_t written = 0;
  for (int64_t i = 0; i < count; ++i) {
    float angle = values[i];
    for (int k = 0; k < frequencies; ++k, angle *= 2.0f) angles[written++] = angle;
  }
  return static_cast<int>(written);
}

// Copies rows of `width` from a contiguous array into a strided one.
NERF_SSIM_INLINE void scatter_rows(const float* from, int count, int width, float* to, int stride) {
  for (int s = 0; s < count; ++s) std::memcpy(to + s * stride, from + s * width, width * sizeof(float));
}

NERF_SSIM_INLINE void gather_rows(const float* from, int count, int width, int stride, float* to) {
  for (int s = 0; s < count; ++s) std::memcpy(to + s * width, from + s * stride, width * sizeof(float));
}

// The MLP's input rows of a tile.
template <class Products>
NERF_SSIM_INLINE void encode(
    const DecoderShape& shape, const Layout<Products>& at, const float* features, const float* directions, int count,
    float* scratch) {
  float* input = scratch + at.input;
  float* angles = scratch + at.angles;
  float* sines = scratch + at.sines;
  float* cosines = scratch + at.cosines;
  const int feature_angles = shape.feature_angles();
  const int view_angles = shape.view_angles();

  // 1. Every angle of the tile in one array, so that no vector lane is idle.
  const int of_features = octaves(features, static_cast<int64_t>(count) * shape.features, shape.feature_frequencies, angles);
  const int all = of_features + octaves(directions, int64_t{3} * count, shape.view_frequencies, angles + of_features);
  for (int i = all; i % kLanes; ++i) angles[i] = 0.0f;
  sine_cosine_array(angles, all, sines, cosines);

  // 2. Each part to its columns.
  scatter_rows(features, count, shape.features, input, at.input_stride);
  float* column = input + shape.features;
  scatter_rows(sines, count, feature_angles, column, at.input_stride);
  scatter_rows(cosines, count, feature_angles, column + feature_angles, at.input_stride);
  column += 2 * feature_angles;
  scatter_rows(directions, count, 3, column, at.input_stride);
  scatter_rows(sines + of_features, count, view_angles, column + 3, at.input_stride);
  scatter_rows(cosines + of_features, count, view_angles, column + 3 + view_angles, at.input_stride);
}

// output = relu(input * W^T + bias) for one layer of a tile.
template <class Products>
NERF_SSIM_INLINE void hidden_layer(
    int count, int inputs, int outputs_padded, const float* input, int input_stride, const float* weight,
    const float* bias, float* output, int output_stride, float* operands) {
  const auto finish = [=](int row, int column, Vec sum) {
    store(output + row * output_stride + column, Products::operand(positive_part(sum + load(bias + column))));
  };
  Products::multiply(count, outputs_padded, inputs, 0, inputs, input, input_stride, weight, operands, finish);
}

template <class Products>
NERF_SSIM_INLINE void hidden_layers(const Layout<Products>& at, const float* packed, int count, float* scratch) {
  hidden_layer<Products>(
      count, at.inputs, at.hidden1_padded, scratch + at.input, at.input_stride, packed + at.w1_forward, packed + at.b1,
      scratch + at.activation1, at.hidden1_stride, scratch + at.operands);
  hidden_layer<Products>(
      count, at.hidden1, at.hidden2_padded, scratch + at.activation1, at.hidden1_stride, packed + at.w2_forward,
      packed + at.b2, scratch + at.activation2, at.hidden2_stride, scratch + at.operands);
}

template <class Products>
inline void forward(
    const DecoderShape& shape, const float* packed, const DecoderForward& arrays, int64_t begin, int count,
    float* scratch) {
  const Layout<Products> at(shape);
  encode(shape, at, arrays.features + begin * shape.features, arrays.directions + begin * 3, count, scratch);
  hidden_layers<Products>(at, packed, count, scratch);
  const float* activation2 = scratch + at.activation2;

  // Last layer: three dot products a sample, then one sigmoid over the tile.
  float* logits = scratch + at.color;
  const float* w3 = packed + at.w3;
  for (int s = 0; s < count; ++s) {
    const float* row = activation2 + s * at.hidden2_stride;
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

// Gradient of the features from the gradient of the input's first columns: d sin(2^k x) = 2^k cos(2^k x) dx.
NERF_SSIM_INLINE void feature_gradient(
    const DecoderShape& shape, const float* input, const float* grad_input, float* products, float* grad_features) {
  const int angles = shape.feature_angles();
  const float* sines = input + shape.features;
  const float* cosines = sines + angles;
  const float* grad_sines = grad_input + shape.features;
  const float* grad_cosines = grad_sines + angles;
  for (int i = 0; i < angles; i += kLanes)
    store(products + i, load(grad_sines + i) * load(cosines + i) - load(grad_cosines + i) * load(sines + i));
  for (int f = 0; f < shape.features; ++f) {
    float sum = grad_input[f];
    float factor = 1.0f;
    for (int k = 0; k < shape.feature_frequencies; ++k, factor *= 2.0f) sum += factor * *products++;
    grad_features[f] = sum;
  }
}

template <class Products>
inline void backward(
    const DecoderShape& shape, const float* packed, const DecoderBackward& arrays, int64_t begin, int count,
    float* scratch, float* gradient) {
  const Layout<Products> at(shape);
  float* input = scratch + at.input;
  float* activation1 = scratch + at.activation1;
  float* activation2 = scratch + at.activation2;
  float* operands = scratch + at.operands;

  // 1. The tile's hidden layers again: fetching and filling the memory to keep them would cost as much.
  encode(shape, at, arrays.features + begin * shape.features, arrays.directions + begin * 3, count, scratch);
  hidden_layers<Products>(at, packed, count, scratch);

  // 2. Through the sigmoid and the last layer; the gradient of layer 2 replaces its activation.
  float* grad_logits = scratch + at.color;
  for (int s = 0; s < count; ++s)
    for (int c = 0; c < kColors; ++c) {
      const float color = arrays.rgb[(begin + s) * kColors + c];
      const float grad = arrays.grad_rgb[(begin + s) * kColors + c] * (1.0f - color) * color;
      grad_logits[s * kColorStride + c] = Products::operand(grad);
      gradient[at.grad_b3 + c] += grad;
    }
  add_weight_gradient(
      count, kColors, at.hidden2_padded, grad_logits, kColorStride, activation2, at.hidden2_stride,
      gradient + at.grad_w3);
  const float* w3 = packed + at.w3;
  for (int s = 0; s < count; ++s) {
    float* row = activation2 + s * at.hidden2_stride;
    for (int i = 0; i < at.hidden2_padded; i += kLanes) {
      Vec sum = {};
      for (int c = 0; c < kColors; ++c) sum += grad_logits[s * kColorStride + c] * load(w3 + c * at.hidden2_padded + i);
      store(row + i, load(row + i) > 0.0f ? sum : Vec{});
    }
  }

  // 3. Layer 2; the gradient of layer 1 replaces its activation.
  Products::weight_gradient(
      count, at.hidden2, at.hidden1_padded, activation2, at.hidden2_stride, activation1, at.hidden1_stride,
      gradient + at.grad_w2, operands);
  add_column_sums(activation2, count, at.hidden2_stride, at.hidden2_padded, gradient + at.grad_b2);
  Products::multiply(
      count, at.hidden1_padded, at.hidden2, 0, at.hidden2, activation2, at.hidden2_stride, packed + at.w2_backward,
      operands, [=](int row, int column, Vec sum) {
        float* to = activation1 + row * at.hidden1_stride + column;
        store(to, load(to) > 0.0f ? sum : Vec{});
      });

  // 4. Layer 1, and the input's gradient where layer 2's was.
  Products::weight_gradient(
      count, at.hidden1, at.inputs_padded, activation1, at.hidden1_stride, input, at.input_stride,
      gradient + at.grad_w1, operands);
  add_column_sums(activation1, count, at.hidden1_stride, at.hidden1_padded, gradient + at.grad_b1);
  if (arrays.grad_features == nullptr) return;
  float* grad_input = activation2;
  const int grad_stride = at.hidden2_stride;
  Products::multiply(
      count, at.wanted_padded, at.hidden1, 0, at.hidden1, activation1, at.hidden1_stride, packed + at.w1_backward,
      operands, [=](int row, int column, Vec sum) { store(grad_input + row * grad_stride + column, sum); });
  for (int s = 0; s < count; ++s)
    feature_gradient(
        shape, input + s * at.input_stride, grad_input + s * grad_stride, scratch + at.angles,
        arrays.grad_features + (begin + s) * shape.features);
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

template <class Products>
inline DecoderKernels kernels(const char* name) {
  return {
      name,
      [](const DecoderShape& shape) { return Layout<Products>(shape).packed_size; },
      [](const DecoderShape& shape) { return Layout<Products>(shape).scratch_size; },
      [](const DecoderShape& shape) { return Layout<Products>(shape).gradient_size; },
      kTile, pack<Products>, forward<Products>, backward<Products>, unpack<Products>,
  };
}

}  // namespace nerf_ssim::NERF_SSIM_ISA
