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

Tensor plane_tv(const Tensor& plane) {
  const Tensor values = checked_plane(plane);
  Tensor out = at::empty({}, plane.options());
  *out.mutable_data_ptr<float>() = static_cast<float>(cpu::plane_tv(plane_of(values), at::get_num_threads()));
  return out;
}

Tensor plane_tv_backward(const Tensor& grad, const Tensor& plane) {
  const Tensor values = checked_plane(plane);
  Tensor out = at::empty(values.sizes(), values.options());
  cpu::plane_tv_backward(
      plane_of(values), grad.item<float>(), out.mutable_data_ptr<float>(), at::get_num_threads());
  return out;
}

Tensor resize_plane(const Tensor& plane, int64_t n_v, int64_t n_u) {
  const Tensor values = checked_plane(plane);
  check_resizable(values, n_v, n_u);
  Tensor out = at::empty({n_v, n_u, values.size(2)}, values.options());
  cpu::resize_plane(plane_of(values), n_v, n_u, out.mutable_data_ptr<float>(), at::get_num_threads());
  return out;
}

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  library.def("plane_tv(Tensor plane) -> Tensor", torch::dispatch(at::kCPU, &plane_tv));
  library.def(
      "plane_tv_backward(Tensor grad, Tensor plane) -> Tensor", torch::dispatch(at::kCPU, &plane_tv_backward));
  library.def(
      "resize_plane(Tensor plane, SymInt n_v, SymInt n_u) -> Tensor", torch::dispatch(at::kCPU, &resize_plane));
}

}  // namespace
}  // namespace nerf_ssim
