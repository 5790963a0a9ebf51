// Torch operators of whole planes: total variation with its gradient, and resampling.
#include "../include/planes.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "arguments.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

Plane plane_of(const Tensor& values) {
  return {values.const_data_ptr<float>(), values.size(0), values.size(1), values.size(2)};
}

// Each plane's in float32, added in their order, then the factors one after the other: as PyTorch would.
Tensor planes_tv(const std::vector<Tensor>& planes, at::ArrayRef<double> factors) {
  const std::vector<Tensor> values = checked_planes(planes, factors);
  float total = 0.0f;
  for (size_t p = 0; p < values.size(); ++p) {
    const auto of_plane = static_cast<float>(cpu::plane_tv(plane_of(values[p]), at::get_num_threads()));
    total = p == 0 ? of_plane : total + of_plane;
  }
  for (const double factor : factors) total *= static_cast<float>(factor);
  Tensor out = at::empty({}, values[0].options());
  *out.mutable_data_ptr<float>() = total;
  return out;
}

std::vector<Tensor> planes_tv_backward(const Tensor& grad, const std::vector<Tensor>& planes,
                                       at::ArrayRef<double> factors) {
  const std::vector<Tensor> values = checked_planes(planes, factors);
  const float upstream = *checked(grad, {}, "grad", values[0]).const_data_ptr<float>();
  const float scale = upstream * static_cast<float>(factors[1]) * static_cast<float>(factors[0]);
  std::vector<Tensor> gradients;
  for (const Tensor& plane : values) {
    gradients.push_back(at::empty(plane.sizes(), plane.options()));
    cpu::plane_tv_backward(plane_of(plane), scale, gradients.back().mutable_data_ptr<float>(), at::get_num_threads());
  }
  return gradients;
}

Tensor resize_plane(const Tensor& plane, int64_t n_v, int64_t n_u) {
  const Tensor values = checked_plane(plane);
  check_resizable(values, n_v, n_u);
  Tensor out = at::empty({n_v, n_u, values.size(2)}, values.options());
  cpu::resize_plane(plane_of(values), n_v, n_u, out.mutable_data_ptr<float>(), at::get_num_threads());
  return out;
}

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  library.def("planes_tv(Tensor[] planes, float[] factors) -> Tensor", torch::dispatch(at::kCPU, &planes_tv));
  library.def("planes_tv_backward(Tensor grad, Tensor[] planes, float[] factors) -> Tensor[]",
              torch::dispatch(at::kCPU, &planes_tv_backward));
  library.def("resize_plane(Tensor plane, SymInt n_v, SymInt n_u) -> Tensor", torch::dispatch(at::kCPU, &resize_plane));
}

}  // namespace
}  // namespace nerf_ssim
