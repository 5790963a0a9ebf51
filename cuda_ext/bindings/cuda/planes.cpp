// Total variation and resampling of planes on the GPU.
#include "../../cuda/planes.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "checked.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

Tensor checked_plane(const Tensor& plane) {
  TORCH_CHECK(plane.dim() == 3, "plane: expected [n_v, n_u, C], not ", plane.sizes());
  return checked(plane, plane.sizes(), "plane", plane);
}

Tensor plane_tv_cuda(const Tensor& plane) {
  const OnDeviceOf device(plane);
  const Tensor values = checked_plane(plane);
  Tensor partial_sums = at::empty({kPlaneTvPartialSums}, values.options()), out = at::empty({}, values.options());
  check_launch(
      launch_plane_tv(
          values.const_data_ptr<float>(), values.size(0), values.size(1), values.size(2),
          partial_sums.mutable_data_ptr<float>(), out.mutable_data_ptr<float>(), device.stream),
      "plane_tv");
  return out;
}

Tensor plane_tv_backward_cuda(const Tensor& grad, const Tensor& plane) {
  const OnDeviceOf device(plane);
  const Tensor values = checked_plane(plane), scale = checked(grad, {}, "grad", plane);
  Tensor out = at::empty(values.sizes(), values.options());
  check_launch(
      launch_plane_tv_backward(
          values.const_data_ptr<float>(), values.size(0), values.size(1), values.size(2),
          scale.const_data_ptr<float>(), out.mutable_data_ptr<float>(), device.stream),
      "plane_tv_backward");
  return out;
}

Tensor resize_plane_cuda(const Tensor& plane, int64_t n_v, int64_t n_u) {
  const OnDeviceOf device(plane);
  const Tensor values = checked_plane(plane);
  TORCH_CHECK(values.size(0) > 0 && values.size(1) > 0, "plane: expected at least one node a side");
  TORCH_CHECK(n_v > 0 && n_u > 0, "size: expected at least one node a side");
  Tensor out = at::empty({n_v, n_u, values.size(2)}, values.options());
  check_launch(
      launch_resize_plane(
          values.const_data_ptr<float>(), values.size(0), values.size(1), values.size(2), n_v, n_u,
          out.mutable_data_ptr<float>(), device.stream),
      "resize_plane");
  return out;
}

}  // namespace
}  // namespace nerf_ssim

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) {
  library.impl("plane_tv", &nerf_ssim::plane_tv_cuda);
  library.impl("plane_tv_backward", &nerf_ssim::plane_tv_backward_cuda);
  library.impl("resize_plane", &nerf_ssim::resize_plane_cuda);
}
