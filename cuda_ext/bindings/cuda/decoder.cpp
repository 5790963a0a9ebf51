// Torch operators of the colour decoder around its products of matrices, on a GPU. Nothing here waits for the device.
#include "../../include/decoder_layers.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <tuple>

#include "../arguments.h"
#include "device.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

// Float32 or bfloat16 rows, contiguous.
bool is_bfloat16_rows(const Tensor& rows, const char* name, const Tensor& like) {
  const bool is_bfloat16 = rows.scalar_type() == at::kBFloat16;
  TORCH_CHECK(rows.dim() == 2 && rows.is_contiguous() && (is_bfloat16 || rows.scalar_type() == at::kFloat), name,
              ": expected contiguous float32 or bfloat16 [samples, width], not ", rows.scalar_type(), " ",
              rows.sizes());
  check_device(rows, name, like);
  return is_bfloat16;
}

DecoderEncoding checked_encoding(const Tensor& features, int64_t feature_frequencies, int64_t view_frequencies,
                                 int64_t width) {
  check_rank(features, 2, "features");
  const DecoderEncoding encoding{features.size(1), feature_frequencies, view_frequencies, width};
  TORCH_CHECK(feature_frequencies >= 0 && feature_frequencies < 64 && view_frequencies >= 0 && view_frequencies < 64,
              "decoder_inputs: expected 0 to 63 frequencies");
  TORCH_CHECK(width >= encoding.inputs() && width % kDecoderPadding == 0 && width < (1 << 20),
              "decoder_inputs: a row of ", encoding.inputs(), " numbers needs a width that is a multiple of ",
              kDecoderPadding, ", not ", width);
  return encoding;
}

Tensor decoder_inputs_cuda(const Tensor& features, const Tensor& directions, int64_t feature_frequencies,
                           int64_t view_frequencies, int64_t width, bool is_bfloat16) {
  const DecoderEncoding encoding = checked_encoding(features, feature_frequencies, view_frequencies, width);
  const int64_t samples = features.size(0);
  const Tensor feature_rows = features.contiguous();
  const Tensor direction_rows = checked(directions, {samples, 3}, "directions", features);
  const OnDeviceOf device(features);
  Tensor rows = at::empty({samples, width}, features.options().dtype(is_bfloat16 ? at::kBFloat16 : at::kFloat));
  check_launch(
      launch_decoder_inputs(encoding, feature_rows.const_data_ptr<float>(), direction_rows.const_data_ptr<float>(),
                            samples, is_bfloat16, rows.mutable_data_ptr(), device.stream),
      "decoder_inputs");
  return rows;
}

Tensor decoder_inputs_backward_cuda(const Tensor& grad, const Tensor& features, int64_t feature_frequencies,
                                    int64_t view_frequencies) {
  const bool is_bfloat16 = is_bfloat16_rows(grad, "grad", features);
  const DecoderEncoding encoding = checked_encoding(features, feature_frequencies, view_frequencies, grad.size(1));
  TORCH_CHECK(grad.size(0) == features.size(0), "decoder_inputs_backward: a row a sample");
  const Tensor feature_rows = features.contiguous();
  const OnDeviceOf device(features);
  Tensor grad_features = at::empty(features.sizes(), features.options());
  check_launch(launch_decoder_inputs_backward(encoding, feature_rows.const_data_ptr<float>(), grad.const_data_ptr(),
                                              features.size(0), is_bfloat16, grad_features.mutable_data_ptr<float>(),
                                              device.stream),
               "decoder_inputs_backward");
  return grad_features;
}

// Hidden rows and a gradient of their kind, with room for the sums of each block.
DecoderHidden hidden_rows(const Tensor& hidden, const Tensor& grad, const Tensor& sums, bool is_bfloat16) {
  return {hidden.size(0),          hidden.size(1),          is_bfloat16,
          hidden.const_data_ptr(), grad.mutable_data_ptr(), sums.mutable_data_ptr<float>()};
}

Tensor empty_sums(const Tensor& hidden, int64_t sums) {
  const int64_t blocks = (hidden.size(0) + kDecoderSamples - 1) / kDecoderSamples;
  return at::empty({blocks, sums}, hidden.options().dtype(at::kFloat));
}

std::tuple<Tensor, Tensor> decoder_last_layer_backward_cuda(const Tensor& grad_rgb, const Tensor& rgb,
                                                            const Tensor& hidden, const Tensor& w3) {
  const bool is_bfloat16 = is_bfloat16_rows(hidden, "hidden", rgb);
  const int64_t samples = hidden.size(0), width = hidden.size(1);
  const Tensor grad_rows = checked(grad_rgb, {samples, 3}, "grad_rgb", rgb),
               rows = checked(rgb, {samples, 3}, "rgb", rgb);
  const Tensor weight = checked(w3, {3, width}, "w3", rgb);
  const OnDeviceOf device(rgb);
  Tensor grad = at::empty_like(hidden), sums = empty_sums(hidden, last_layer_sums(width));
  const DecoderLastLayer layer{grad_rows.const_data_ptr<float>(), rows.const_data_ptr<float>(),
                               weight.const_data_ptr<float>()};
  check_launch(launch_decoder_last_layer_backward(layer, hidden_rows(hidden, grad, sums, is_bfloat16), device.stream),
               "decoder_last_layer_backward");
  return {grad, sums};
}

Tensor decoder_relu_backward_cuda(Tensor& grad, const Tensor& hidden) {
  const bool is_bfloat16 = is_bfloat16_rows(hidden, "hidden", grad);
  TORCH_CHECK(is_bfloat16_rows(grad, "grad", hidden) == is_bfloat16 && grad.sizes() == hidden.sizes(),
              "decoder_relu_backward: the gradient is of the kind and shape of the hidden numbers");
  const OnDeviceOf device(grad);
  Tensor sums = empty_sums(hidden, hidden.size(1));
  check_launch(launch_decoder_relu_backward(hidden_rows(hidden, grad, sums, is_bfloat16), device.stream),
               "decoder_relu_backward");
  return sums;
}

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) {
  library.impl("decoder_inputs", &decoder_inputs_cuda);
  library.impl("decoder_inputs_backward", &decoder_inputs_backward_cuda);
  library.impl("decoder_last_layer_backward", &decoder_last_layer_backward_cuda);
  library.impl("decoder_relu_backward", &decoder_relu_backward_cuda);
}

}  // namespace
}  // namespace nerf_ssim
