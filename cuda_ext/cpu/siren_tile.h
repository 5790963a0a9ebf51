// The sine network for one tile of points, forward and backward.
//
// Included by levels/networks.h. A tile keeps sine and cosine of every hidden layer: the first is the next
// layer's input, the second the sine's derivative, which backward turns into the gradient of the layer's angles in
// place. omega is multiplied into the packed weights and into the gradients when they are unpacked.
//
// `Forward` computes the products of the forward pass, `Backward` those of both gradients: in bfloat16 terms the angles
// need all digits of a float32, their gradients do not.
#pragma once

#include "products.h"
#include "siren.h"

namespace nerf_ssim::NERF_SSIM_ISA {

constexpr int kSirenTile = 96;  // 16 register blocks; 4 x 256 activations, 0.8 MB, share the caches with the weights

// Sizes and offsets (in floats) of the packed weights, of a thread's scratch and of its gradient sums. Index 0 is the
// input, 1 … hidden the layers with a sine.
template <class Forward, class Backward>
struct SirenLayout {
  int padded[kMostSirenLayers + 1];
  int stride[kMostSirenLayers + 1];
  size_t to_next[kMostSirenLayers + 1], to_previous[kMostSirenLayers + 1], bias[kMostSirenLayers + 1];
  size_t last_weight, last_bias, packed_size;
  size_t sine[kMostSirenLayers + 1], cosine[kMostSirenLayers + 1], scratch_size, operand_size;
  size_t grad_weight[kMostSirenLayers + 1], grad_bias[kMostSirenLayers + 1];
  size_t grad_last_weight, grad_last_bias, gradient_size;

  explicit SirenLayout(const SirenShape& shape) {
    int widest = round_up(shape.widths[0], kLanes), widest_hidden = 0;
    for (int l = 0; l <= shape.hidden; ++l) {
      padded[l] = round_up(shape.widths[l], kLanes);
      if (padded[l] > widest) widest = padded[l];
      if (l > 0 && padded[l] > widest_hidden) widest_hidden = padded[l];
    }
    stride[0] = padded[0];
    for (int l = 1; l <= shape.hidden; ++l) stride[l] = spread_stride(widest_hidden);
    const int last = padded[shape.hidden];

    size_t end = 0;
    for (int l = 1; l <= shape.hidden; ++l) {
      to_next[l] = place(end, Forward::weight_floats(shape.widths[l - 1], shape.widths[l]));
      to_previous[l] = l == 1 ? end : place(end, Backward::weight_floats(shape.widths[l], shape.widths[l - 1]));
      bias[l] = place(end, padded[l]);
    }
    last_weight = place(end, static_cast<size_t>(shape.outputs()) * last);
    last_bias = place(end, shape.outputs());
    packed_size = end;

    end = 0;
    sine[0] = place(end, static_cast<size_t>(kSirenTile) * stride[0]);
    for (int l = 1; l <= shape.hidden; ++l) {
      sine[l] = place(end, static_cast<size_t>(kSirenTile) * stride[l]);
      cosine[l] = place(end, static_cast<size_t>(kSirenTile) * stride[l]);
    }
    scratch_size = end;
    const size_t forward = Forward::scratch_floats(kSirenTile, widest);
    const size_t backward = Backward::scratch_floats(kSirenTile, widest);
    operand_size = forward > backward ? forward : backward;

    end = 0;
    for (int l = 1; l <= shape.hidden; ++l) {
      grad_weight[l] = place(end, static_cast<size_t>(shape.widths[l]) * padded[l - 1]);
      grad_bias[l] = place(end, padded[l]);
    }
    grad_last_weight = place(end, static_cast<size_t>(shape.outputs()) * last);
    grad_last_bias = place(end, shape.outputs());
    gradient_size = end;
  }
};

template <class Forward, class Backward>
inline void siren_pack(const SirenShape& shape, const SirenWeights& from, float* packed) {
  const SirenLayout<Forward, Backward> at(shape);
  std::memset(packed, 0, at.packed_size * sizeof(float));
  for (int l = 1; l <= shape.hidden; ++l) {
    const float* weight = from.weight[l - 1];
    const int inputs = shape.widths[l - 1], outputs = shape.widths[l];
    Forward::pack(inputs, outputs, packed + at.to_next[l],
                  [=](int k, int n) { return shape.omega * weight[static_cast<int64_t>(n) * inputs + k]; });
    if (l > 1)
      Backward::pack(outputs, inputs, packed + at.to_previous[l],
                     [=](int k, int n) { return shape.omega * weight[static_cast<int64_t>(k) * inputs + n]; });
    for (int i = 0; i < outputs; ++i) packed[at.bias[l] + i] = shape.omega * from.bias[l - 1][i];
  }
  const int inputs = shape.widths[shape.hidden];
  for (int c = 0; c < shape.outputs(); ++c)
    std::memcpy(packed + at.last_weight + static_cast<size_t>(c) * at.padded[shape.hidden],
                from.weight[shape.hidden] + static_cast<int64_t>(c) * inputs, inputs * sizeof(float));
  std::memcpy(packed + at.last_bias, from.bias[shape.hidden], shape.outputs() * sizeof(float));
}

// `finish(row, column, sum, is_first, is_last)` takes A * B of a tile in pieces of rows of B, one after another.
template <class Products, class Finish>
NERF_SSIM_INLINE void multiply_in_pieces(int rows, int columns, int depth, const float* a, int64_t stride,
                                         const float* packed, float* operands, const Finish& finish) {
  for (int k = 0; k < depth; k += Products::kPiece) {
    const int piece = depth - k < Products::kPiece ? depth - k : Products::kPiece;
    Products::multiply(rows, columns, depth, k, piece, a, stride, packed, operands,
                       [=](int row, int column, Vec sum) { finish(row, column, sum, k == 0, k + piece >= depth); });
  }
}

template <class Forward, class Backward>
inline void siren_forward_tile(const SirenShape& shape, const float* packed, const float* inputs, int count,
                               float* outputs, float* scratch, float* operands) {
  const SirenLayout<Forward, Backward> at(shape);
  for (int s = 0; s < count; ++s) {
    float* row = scratch + at.sine[0] + s * at.stride[0];
    std::memcpy(row, inputs + s * shape.inputs(), shape.inputs() * sizeof(float));
    std::memset(row + shape.inputs(), 0, (at.padded[0] - shape.inputs()) * sizeof(float));
  }

  for (int l = 1; l <= shape.hidden; ++l) {
    // 1. The angles, where the cosines will be.
    float* angles = scratch + at.cosine[l];
    const float* bias = packed + at.bias[l];
    const int stride = at.stride[l];
    multiply_in_pieces<Forward>(count, at.padded[l], shape.widths[l - 1], scratch + at.sine[l - 1], at.stride[l - 1],
                                packed + at.to_next[l], operands,
                                [=](int row, int column, Vec sum, bool is_first, bool) {
                                  float* to = angles + row * stride + column;
                                  store(to, sum + load(is_first ? bias + column : to));
                                });
    // 2. Sine and cosine of each row.
    for (int s = 0; s < count; ++s) {
      float* row = angles + s * stride;
      sine_cosine_array(row, at.padded[l], scratch + at.sine[l] + s * stride, row);
    }
  }

  const int width = at.padded[shape.hidden];
  for (int s = 0; s < count; ++s) {
    const float* row = scratch + at.sine[shape.hidden] + s * at.stride[shape.hidden];
    for (int c = 0; c < shape.outputs(); ++c) {
      const float* weight = packed + at.last_weight + static_cast<size_t>(c) * width;
      Vec sum = {};
      for (int i = 0; i < width; i += kLanes) sum += load(row + i) * load(weight + i);
      outputs[s * shape.outputs() + c] = horizontal_sum(sum) + packed[at.last_bias + c];
    }
  }
}

// sums[n] += column sums of a tile's rows. The tile is summed by itself first: over a whole picture, adding row after
// row to one sum would lose digits that a fit beyond 100 dB needs.
NERF_SSIM_INLINE void add_tile_sums(const float* rows, int count, int stride, int columns_padded, float* sums) {
  for (int i = 0; i < columns_padded; i += kLanes) {
    Vec even = {}, odd = {};
    int s = 0;
    for (; s + 2 <= count; s += 2) {
      even += load(rows + s * stride + i);
      odd += load(rows + (s + 1) * stride + i);
    }
    if (s < count) even += load(rows + s * stride + i);
    store(sums + i, load(sums + i) + (even + odd));
  }
}

template <class Forward, class Backward>
inline void siren_backward_tile(const SirenShape& shape, const float* packed, const float* grad_outputs, int count,
                                float* scratch, float* gradient, float* operands) {
  const SirenLayout<Forward, Backward> at(shape);
  const int hidden = shape.hidden, outputs = shape.outputs();

  // 1. The last layer, and through the sines before it: the gradient of their angles replaces their cosines.
  add_weight_gradient(count, outputs, at.padded[hidden], grad_outputs, outputs, scratch + at.sine[hidden],
                      at.stride[hidden], gradient + at.grad_last_weight);
  for (int c = 0; c < outputs; ++c) {
    double sum = 0.0;
    for (int s = 0; s < count; ++s) sum += grad_outputs[s * outputs + c];
    gradient[at.grad_last_bias + c] += static_cast<float>(sum);
  }
  for (int s = 0; s < count; ++s) {
    float* row = scratch + at.cosine[hidden] + s * at.stride[hidden];
    for (int i = 0; i < at.padded[hidden]; i += kLanes) {
      Vec sum = {};
      for (int c = 0; c < outputs; ++c)
        sum += grad_outputs[s * outputs + c] *
               load(packed + at.last_weight + static_cast<size_t>(c) * at.padded[hidden] + i);
      store(row + i, load(row + i) * sum);
    }
  }

  for (int l = hidden; l >= 1; --l) {
    // 2. The layer's weights and biases.
    const float* grad_angles = scratch + at.cosine[l];
    Backward::weight_gradient(count, shape.widths[l], at.padded[l - 1], grad_angles, at.stride[l],
                              scratch + at.sine[l - 1], at.stride[l - 1], gradient + at.grad_weight[l], operands);
    add_tile_sums(grad_angles, count, at.stride[l], at.padded[l], gradient + at.grad_bias[l]);
    if (l == 1) return;

    // 3. The layer before: sums of the pieces gather where this layer's sines were.
    float* sums = scratch + at.sine[l];
    float* cosines = scratch + at.cosine[l - 1];
    const int stride = at.stride[l];
    multiply_in_pieces<Backward>(count, at.padded[l - 1], shape.widths[l], grad_angles, stride,
                                 packed + at.to_previous[l], operands,
                                 [=](int row, int column, Vec sum, bool is_first, bool is_last) {
                                   const int64_t place = static_cast<int64_t>(row) * stride + column;
                                   if (!is_first) sum += load(sums + place);
                                   if (is_last)
                                     store(cosines + place, load(cosines + place) * sum);
                                   else
                                     store(sums + place, sum);
                                 });
  }
}

template <class Forward, class Backward>
inline void siren_unpack(const SirenShape& shape, const float* gradient, const SirenWeightGradients& to) {
  const SirenLayout<Forward, Backward> at(shape);
  for (int l = 1; l <= shape.hidden; ++l) {
    const int inputs = shape.widths[l - 1];
    for (int out = 0; out < shape.widths[l]; ++out) {
      const float* row = gradient + at.grad_weight[l] + static_cast<size_t>(out) * at.padded[l - 1];
      for (int in = 0; in < inputs; ++in)
        to.weight[l - 1][static_cast<int64_t>(out) * inputs + in] = shape.omega * row[in];
      to.bias[l - 1][out] = shape.omega * gradient[at.grad_bias[l] + out];
    }
  }
  const int inputs = shape.widths[shape.hidden];
  for (int c = 0; c < shape.outputs(); ++c)
    std::memcpy(to.weight[shape.hidden] + static_cast<int64_t>(c) * inputs,
                gradient + at.grad_last_weight + static_cast<size_t>(c) * at.padded[shape.hidden],
                inputs * sizeof(float));
  std::memcpy(to.bias[shape.hidden], gradient + at.grad_last_bias, shape.outputs() * sizeof(float));
}

template <class Forward, class Backward>
inline SirenKernels siren_table(const char* name) {
  return {
      name,
      [](const SirenShape& shape) { return SirenLayout<Forward, Backward>(shape).packed_size; },
      [](const SirenShape& shape) { return SirenLayout<Forward, Backward>(shape).scratch_size; },
      [](const SirenShape& shape) { return SirenLayout<Forward, Backward>(shape).operand_size; },
      [](const SirenShape& shape) { return SirenLayout<Forward, Backward>(shape).gradient_size; },
      kSirenTile,
      siren_pack<Forward, Backward>,
      siren_forward_tile<Forward, Backward>,
      siren_backward_tile<Forward, Backward>,
      siren_unpack<Forward, Backward>,
  };
}

inline SirenKernels siren_float32_table(const char* name) {
  return siren_table<Float32Products, Float32Products>(name);
}

// Three terms are a float32; two give a gradient 16 bits for half as many products.
template <class Engine>
const SirenKernels& siren_split_table(int forward_terms, const char* name) {
  using Two = Bf16Products<2, Engine>;
  using Three = Bf16Products<3, Engine>;
  static const SirenKernels three = siren_table<Three, Two>(name), two = siren_table<Two, Two>(name);
  return forward_terms == 3 ? three : two;
}

}  // namespace nerf_ssim::NERF_SSIM_ISA
