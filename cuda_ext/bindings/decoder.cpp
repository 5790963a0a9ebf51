// torch operators of the colour decoder: shapes and dtypes checked, then cuda_ext/cpu/decoder.cpp on raw pointers.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <vector>

#include "../cpu/decoder.h"
#include "bf16_precision.h"
#include "huge_pages.h"
#include "network_arguments.h"

namespace {

using at::Tensor;

constexpr int64_t kMostFrequencies = 64;  // 2^64 times a coordinate is beyond what float32's sine resolves

// The six weights, contiguous, in the order w1, b1, w2, b2, w3, b3.
struct Layers {
  std::vector<Tensor> tensors;

  Layers(const Tensor& w1, const Tensor& b1, const Tensor& w2, const Tensor& b2, const Tensor& w3, const Tensor& b3) {
    for (const Tensor* tensor : {&w1, &b1, &w2, &b2, &w3, &b3}) {
      TORCH_CHECK(tensor->scalar_type() == at::kFloat && tensor->device().is_cpu(),
                  "decode_color: weights must be float32 on the CPU");
      tensors.push_back(tensor->contiguous());
    }
  }

  nerf_ssim::DecoderWeights pointers() const {
    const auto at = [this](int i) { return tensors[i].const_data_ptr<float>(); };
    return {at(0), at(1), at(2), at(3), at(4), at(5)};
  }
};

nerf_ssim::DecoderShape checked_shape(const Tensor& features, const Tensor& directions, const Layers& layers,
                                      int64_t feature_frequencies, int64_t view_frequencies) {
  TORCH_CHECK(features.scalar_type() == at::kFloat && directions.scalar_type() == at::kFloat,
              "decode_color: features and directions must be float32");
  TORCH_CHECK(
      features.dim() == 2 && directions.dim() == 2 && directions.size(0) == features.size(0) && directions.size(1) == 3,
      "decode_color: features must be [n, F] and directions [n, 3]");
  const Tensor &w1 = layers.tensors[0], &w2 = layers.tensors[2], &w3 = layers.tensors[4];
  for (const Tensor* weight : {&w1, &w2, &w3})
    TORCH_CHECK(nerf_ssim::is_layer(*weight), "decode_color: each weight must be [outputs, inputs] of at most ",
                nerf_ssim::kWidestLayer, ", not ", weight->sizes());
  TORCH_CHECK(features.size(1) <= nerf_ssim::kWidestLayer, "decode_color: expected at most ", nerf_ssim::kWidestLayer,
              " features");
  TORCH_CHECK(features.device().is_cpu() && directions.device().is_cpu(), "decode_color: tensors must be on the CPU");
  TORCH_CHECK(0 <= feature_frequencies && feature_frequencies <= kMostFrequencies && 0 <= view_frequencies &&
                  view_frequencies <= kMostFrequencies,
              "decode_color: expected 0 to ", kMostFrequencies, " frequencies");
  const nerf_ssim::DecoderShape shape{static_cast<int>(features.size(1)), static_cast<int>(feature_frequencies),
                                      static_cast<int>(view_frequencies), static_cast<int>(w1.size(0)),
                                      static_cast<int>(w2.size(0))};
  for (const int bias : {1, 3, 5})
    TORCH_CHECK(layers.tensors[bias].dim() == 1, "decode_color: each bias must be [outputs]");
  TORCH_CHECK(w1.size(1) == shape.inputs() && w2.size(1) == shape.hidden1 && w3.size(1) == shape.hidden2 &&
                  w3.size(0) == 3 && layers.tensors[1].numel() == shape.hidden1 &&
                  layers.tensors[3].numel() == shape.hidden2 && layers.tensors[5].numel() == 3,
              "decode_color: the layers do not fit together");
  return shape;
}

// The kernels of a precision, float32 or bf16.
const nerf_ssim::DecoderKernels& decoder_kernels_of(c10::string_view precision) {
  if (precision == "float32") return nerf_ssim::decoder_kernels();
  const auto [kind, unit] = bf16_precision(precision);
  TORCH_CHECK(kind == "bf16", "decode_color: unknown precision ", kind);
  return nerf_ssim::decoder_kernels(unit);
}

Tensor decode_color(const Tensor& features, const Tensor& directions, const Tensor& w1, const Tensor& b1,
                    const Tensor& w2, const Tensor& b2, const Tensor& w3, const Tensor& b3, int64_t feature_frequencies,
                    int64_t view_frequencies, c10::string_view precision) {
  const Layers layers(w1, b1, w2, b2, w3, b3);
  const auto shape = checked_shape(features, directions, layers, feature_frequencies, view_frequencies);
  const Tensor feature_rows = features.contiguous(), direction_rows = directions.contiguous();
  const int64_t samples = features.size(0);
  Tensor rgb = at::empty({samples, 3}, features.options());
  const nerf_ssim::DecoderForward arrays{feature_rows.const_data_ptr<float>(), direction_rows.const_data_ptr<float>(),
                                         rgb.mutable_data_ptr<float>()};
  nerf_ssim::decoder_forward(decoder_kernels_of(precision), shape, layers.pointers(), arrays, samples,
                             at::get_num_threads());
  return rgb;
}

// Gradients of features (empty when not wanted), w1, b1, w2, b2, w3, b3.
std::vector<Tensor> decode_color_backward(const Tensor& grad_rgb, const Tensor& rgb, const Tensor& features,
                                          const Tensor& directions, const Tensor& w1, const Tensor& b1,
                                          const Tensor& w2, const Tensor& b2, const Tensor& w3, const Tensor& b3,
                                          int64_t feature_frequencies, int64_t view_frequencies, bool want_features,
                                          c10::string_view precision) {
  const Layers layers(w1, b1, w2, b2, w3, b3);
  const auto shape = checked_shape(features, directions, layers, feature_frequencies, view_frequencies);
  const int64_t samples = features.size(0);
  for (const Tensor* colours : {&grad_rgb, &rgb})
    TORCH_CHECK(colours->scalar_type() == at::kFloat && colours->device().is_cpu() && colours->dim() == 2 &&
                    colours->size(0) == samples && colours->size(1) == 3,
                "decode_color_backward: grad_rgb and rgb must be float32 [n, 3] on the CPU, not ",
                colours->scalar_type(), " ", colours->sizes());
  const Tensor feature_rows = features.contiguous(), direction_rows = directions.contiguous();
  const Tensor rgb_rows = rgb.contiguous(), grad_rows = grad_rgb.contiguous();

  std::vector<Tensor> gradients{
      empty_in_huge_pages({want_features ? samples : 0, features.size(1)}, features.options())};
  for (const Tensor& weight : layers.tensors) gradients.push_back(at::empty(weight.sizes(), weight.options()));
  const auto out = [&](int i) { return gradients[i].mutable_data_ptr<float>(); };
  const nerf_ssim::DecoderBackward arrays{feature_rows.const_data_ptr<float>(), direction_rows.const_data_ptr<float>(),
                                          rgb_rows.const_data_ptr<float>(), grad_rows.const_data_ptr<float>(),
                                          want_features ? out(0) : nullptr};
  nerf_ssim::decoder_backward(decoder_kernels_of(precision), shape, layers.pointers(), arrays,
                              {out(1), out(2), out(3), out(4), out(5), out(6)}, samples, at::get_num_threads());
  return gradients;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(nerf_ssim, m) {
  m.def(
      "decode_color(Tensor features, Tensor directions, Tensor w1, Tensor b1, Tensor w2, Tensor b2, Tensor w3, "
      "Tensor b3, int feature_frequencies, int view_frequencies, str precision) -> Tensor");
  m.def(
      "decode_color_backward(Tensor grad_rgb, Tensor rgb, Tensor features, Tensor directions, Tensor w1, Tensor b1, "
      "Tensor w2, Tensor b2, Tensor w3, Tensor b3, int feature_frequencies, int view_frequencies, bool want_features, "
      "str precision) -> Tensor[]");
  // Of GPUs, whose products of matrices are PyTorch's.
  m.def(
      "decoder_inputs(Tensor features, Tensor directions, int feature_frequencies, int view_frequencies, int width, "
      "bool is_bfloat16) -> Tensor");
  m.def(
      "decoder_inputs_backward(Tensor grad, Tensor features, int feature_frequencies, int view_frequencies) -> Tensor");
  m.def("decoder_last_layer_backward(Tensor grad_rgb, Tensor rgb, Tensor hidden, Tensor w3) -> (Tensor, Tensor)");
  m.def("decoder_relu_backward(Tensor(a!) grad, Tensor hidden) -> Tensor");
}

TORCH_LIBRARY_IMPL(nerf_ssim, CPU, m) {
  m.impl("decode_color", &decode_color);
  m.impl("decode_color_backward", &decode_color_backward);
}
