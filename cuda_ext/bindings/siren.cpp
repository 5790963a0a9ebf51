// torch operators of the sine network: shapes and dtypes checked, then cuda_ext/cpu/siren.cpp on raw pointers.
#include "../cpu/siren.h"
#include "bf16_precision.h"
#include "network_arguments.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <torch/library.h>

#include <cstdint>
#include <tuple>
#include <vector>

namespace {

using at::Tensor;

// The kernels of a precision: float32, or bf16x3 and bf16x2 by the terms of the forward pass.
const nerf_ssim::SirenKernels& siren_kernels_of(c10::string_view precision) {
  if (precision == "float32") return nerf_ssim::siren_kernels();
  const auto [kind, unit] = bf16_precision(precision);
  TORCH_CHECK(kind == "bf16x2" || kind == "bf16x3", "siren: unknown precision ", kind);
  return nerf_ssim::siren_kernels(kind == "bf16x3" ? 3 : 2, unit);
}

// The layers, contiguous, as weight, bias, weight, bias …, and the inputs' rows.
struct Network {
  std::vector<Tensor> tensors;
  Tensor rows;
  nerf_ssim::SirenShape shape{};
  nerf_ssim::SirenWeights weights{};
  const nerf_ssim::SirenKernels& kernels;

  Network(const Tensor& inputs, at::TensorList layers, double omega, c10::string_view precision)
      : kernels(siren_kernels_of(precision)) {
    const int64_t count = static_cast<int64_t>(layers.size()) / 2;
    TORCH_CHECK(layers.size() % 2 == 0 && count >= 2 && count <= nerf_ssim::kMostSirenLayers + 1,
                "siren: weight and bias of 2 to ", nerf_ssim::kMostSirenLayers + 1, " layers expected");
    TORCH_CHECK(inputs.dim() == 2 && inputs.size(1) >= 1 && inputs.size(1) <= nerf_ssim::kWidestLayer,
                "siren: inputs must be [n, d], d 1 to ", nerf_ssim::kWidestLayer, ", not ", inputs.sizes());
    TORCH_CHECK(inputs.scalar_type() == at::kFloat && inputs.device().is_cpu(), "siren: inputs must be float32, CPU");
    rows = inputs.contiguous();
    shape.hidden = static_cast<int>(count) - 1;
    shape.omega = static_cast<float>(omega);
    shape.widths[0] = static_cast<int>(inputs.size(1));
    for (int64_t l = 0; l < count; ++l) {
      const Tensor &weight = layers[2 * l], &bias = layers[2 * l + 1];
      TORCH_CHECK(weight.scalar_type() == at::kFloat && bias.scalar_type() == at::kFloat && weight.device().is_cpu() &&
                      bias.device().is_cpu(),
                  "siren: layers must be float32 on the CPU");
      TORCH_CHECK(nerf_ssim::is_layer(weight) && weight.size(1) == shape.widths[l] && bias.dim() == 1 &&
                      bias.size(0) == weight.size(0),
                  "siren: layer ", l + 1, " does not fit the one before, or is wider than ", nerf_ssim::kWidestLayer);
      shape.widths[l + 1] = static_cast<int>(weight.size(0));
      tensors.push_back(weight.contiguous());
      tensors.push_back(bias.contiguous());
      weights.weight[l] = tensors[2 * l].const_data_ptr<float>();
      weights.bias[l] = tensors[2 * l + 1].const_data_ptr<float>();
    }
  }

  const float* inputs() const { return rows.const_data_ptr<float>(); }
  int64_t points() const { return rows.size(0); }

  // Uninitialised tensors like the layers, and pointers to them.
  std::vector<Tensor> make_gradients(nerf_ssim::SirenWeightGradients& pointers) const {
    std::vector<Tensor> gradients;
    for (const Tensor& tensor : tensors) gradients.push_back(at::empty(tensor.sizes(), tensor.options()));
    for (size_t l = 0; l < gradients.size() / 2; ++l) {
      pointers.weight[l] = gradients[2 * l].mutable_data_ptr<float>();
      pointers.bias[l] = gradients[2 * l + 1].mutable_data_ptr<float>();
    }
    return gradients;
  }
};

// The memory of a network's activations.
float* kept_in(const Tensor& activations, const Network& network) {
  const int64_t floats =
      static_cast<int64_t>(nerf_ssim::siren_activation_floats(network.kernels, network.shape, network.points()));
  TORCH_CHECK(activations.scalar_type() == at::kFloat && activations.device().is_cpu() && activations.is_contiguous() &&
                  activations.numel() == floats && reinterpret_cast<uintptr_t>(activations.const_data_ptr()) % 64 == 0,
              "siren: activations must be ", floats, " float32 on the CPU, contiguous and on a cache line's start");
  return activations.mutable_data_ptr<float>();
}

Tensor forward(const Network& network, float* activations) {
  Tensor outputs = at::empty({network.points(), network.shape.outputs()}, network.rows.options());
  nerf_ssim::siren_forward(network.kernels, network.shape, network.weights, network.inputs(),
                           outputs.mutable_data_ptr<float>(), activations, network.points(), at::get_num_threads());
  return outputs;
}

Tensor siren(const Tensor& inputs, at::TensorList layers, double omega, c10::string_view precision) {
  return forward(Network(inputs, layers, omega, precision), nullptr);
}

int64_t siren_activation_floats(const Tensor& inputs, at::TensorList layers, c10::string_view precision) {
  const Network network(inputs, layers, 1.0, precision);
  return static_cast<int64_t>(nerf_ssim::siren_activation_floats(network.kernels, network.shape, network.points()));
}

Tensor siren_keeping(const Tensor& inputs, at::TensorList layers, double omega, const Tensor& activations,
                     c10::string_view precision) {
  const Network network(inputs, layers, omega, precision);
  return forward(network, kept_in(activations, network));
}

// `activations` are null where nothing was kept.
std::vector<Tensor> backward(const Network& network, const Tensor& grad_outputs, float* activations) {
  TORCH_CHECK(grad_outputs.scalar_type() == at::kFloat && grad_outputs.device().is_cpu() && grad_outputs.dim() == 2 &&
                  grad_outputs.size(0) == network.points() && grad_outputs.size(1) == network.shape.outputs(),
              "siren_backward: grad_outputs must be float32 [n, outputs] on the CPU");
  const Tensor rows = grad_outputs.contiguous();
  nerf_ssim::SirenWeightGradients pointers;
  std::vector<Tensor> gradients = network.make_gradients(pointers);
  nerf_ssim::siren_backward(network.kernels, network.shape, network.weights, network.inputs(),
                            rows.const_data_ptr<float>(), activations, pointers, network.points(),
                            at::get_num_threads());
  return gradients;
}

std::vector<Tensor> siren_backward(const Tensor& grad_outputs, const Tensor& inputs, at::TensorList layers,
                                   double omega, c10::string_view precision) {
  return backward(Network(inputs, layers, omega, precision), grad_outputs, nullptr);
}

std::vector<Tensor> siren_kept_backward(const Tensor& grad_outputs, const Tensor& inputs, at::TensorList layers,
                                        double omega, const Tensor& activations, c10::string_view precision) {
  const Network network(inputs, layers, omega, precision);
  return backward(network, grad_outputs, kept_in(activations, network));
}

std::tuple<Tensor, Tensor, std::vector<Tensor>> siren_fit(const Tensor& inputs, const Tensor& target,
                                                          at::TensorList layers, double omega,
                                                          c10::string_view precision) {
  const Network network(inputs, layers, omega, precision);
  TORCH_CHECK(target.scalar_type() == at::kDouble && target.device().is_cpu() && target.dim() == 2 &&
                  target.size(0) == network.points() && target.size(1) == network.shape.outputs() &&
                  network.points() > 0,
              "siren_fit: target must be float64 [n, outputs] on the CPU, n at least 1");
  const Tensor rows = target.contiguous();
  Tensor outputs = at::empty({network.points(), network.shape.outputs()}, inputs.options());
  nerf_ssim::SirenWeightGradients pointers;
  std::vector<Tensor> gradients = network.make_gradients(pointers);
  const double error = nerf_ssim::siren_fit(network.kernels, network.shape, network.weights, network.inputs(),
                                            rows.const_data_ptr<double>(), outputs.mutable_data_ptr<float>(), pointers,
                                            network.points(), at::get_num_threads());
  return {outputs, at::full({}, error, rows.options()), gradients};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(nerf_ssim, m) {
  m.def("siren(Tensor inputs, Tensor[] layers, float omega, str precision) -> Tensor");
  m.def("siren_activation_floats(Tensor inputs, Tensor[] layers, str precision) -> int");
  m.def("siren_keeping(Tensor inputs, Tensor[] layers, float omega, Tensor(a!) activations, str precision) -> Tensor");
  m.def("siren_backward(Tensor grad_outputs, Tensor inputs, Tensor[] layers, float omega, str precision) -> Tensor[]");
  m.def(
      "siren_kept_backward(Tensor grad_outputs, Tensor inputs, Tensor[] layers, float omega, Tensor(a!) activations, "
      "str precision) -> Tensor[]");
  m.def(
      "siren_fit(Tensor inputs, Tensor target, Tensor[] layers, float omega, str precision) -> (Tensor, Tensor, "
      "Tensor[])");
}

TORCH_LIBRARY_IMPL(nerf_ssim, CPU, m) {
  m.impl("siren", &siren);
  m.impl("siren_activation_floats", &siren_activation_floats);
  m.impl("siren_keeping", &siren_keeping);
  m.impl("siren_backward", &siren_backward);
  m.impl("siren_kept_backward", &siren_kept_backward);
  m.impl("siren_fit", &siren_fit);
}
