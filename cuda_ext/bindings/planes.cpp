// Torch operators over cuda_ext/cpu/planes.h: plane_tv with its gradient, and resize_plane.
#include "../cpu/planes.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

namespace {

using at::Tensor;

Tensor checked(const Tensor& plane) {
  TORCH_CHECK(
      plane.scalar_type() == at::kFloat && plane.dim() == 3, "plane: expected float32 [n_v, n_u, C], not ",
      plane.scalar_type(), " ", plane.sizes());
  return plane.contiguous();
}

nerf_ssim::Plane view(const Tensor& plane) {
  return {plane.const_data_ptr<float>(), plane.size(0), plane.size(1), plane.size(2)};
}

Tensor plane_tv(const Tensor& plane) {
  const Tensor values = checked(plane);
  Tensor out = at::empty({}, plane.options());
  *out.data_ptr<float>() = static_cast<float>(nerf_ssim::plane_tv(view(values), at::get_num_threads()));
  return out;
}

Tensor plane_tv_backward(const Tensor& grad, const Tensor& plane) {
  const Tensor values = checked(plane);
  Tensor out = at::empty(values.sizes(), values.options());
  nerf_ssim::plane_tv_backward(view(values), grad.item<float>(), out.data_ptr<float>(), at::get_num_threads());
  return out;
}

Tensor resize_plane(const Tensor& plane, int64_t n_v, int64_t n_u) {
  const Tensor values = checked(plane);
  TORCH_CHECK(values.size(0) > 0 && values.size(1) > 0, "plane: expected at least one node a side");
  TORCH_CHECK(n_v > 0 && n_u > 0, "size: expected at least one node a side");
  Tensor out = at::empty({n_v, n_u, values.size(2)}, values.options());
  nerf_ssim::resize_plane(view(values), n_v, n_u, out.data_ptr<float>(), at::get_num_threads());
  return out;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  library.def("plane_tv(Tensor plane) -> Tensor");
  library.def("plane_tv_backward(Tensor grad, Tensor plane) -> Tensor");
  library.def("resize_plane(Tensor plane, SymInt n_v, SymInt n_u) -> Tensor");
}

TORCH_LIBRARY_IMPL(nerf_ssim, CPU, library) {
  library.impl("plane_tv", &plane_tv);
  library.impl("plane_tv_backward", &plane_tv_backward);
  library.impl("resize_plane", &resize_plane);
}
