// Total variation and resampling of planes on the GPU.
#include "../../include/planes.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "../arguments.h"
#include "device.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

Plane plane_of(const Tensor& values) {
  return {values.const_data_ptr<float>(), values.size(0), values.size(1), values.size(2)};
}

Tensor plane_tv_cuda(const Tensor& plane) {
  const OnDeviceOf device(plane);
  const Tensor values = checked_plane(plane);
  Tensor partial_sums = at::empty({kPlaneTvPartialSums}, values.options()), out = at::empty({}, values.options());
  check_launch(
      launch_plane_tv(
          plane_of(values), partial_sums.mutable_data_ptr<float>(), out.mutable_data_ptr<float>(), device.stream),
      "plane_tv");
  return out;
}

Tensor plane_tv_backward_cuda(const Tensor& grad, const Tensor& plane) {
  const OnDeviceOf device(plane);
  const Tensor values = checked_plane(plane), scale = checked(grad, {}, "grad", plane);
  Tensor out = at::empty(values.sizes(), values.options());
  check_launch(
      launch_plane_tv_backward(
          plane_of(values), scale.const_data_ptr<float>(), out.mutable_data_ptr<float>(), device.stream),
      "plane_tv_backward");
  return out;
}

Tensor resize_plane_cuda(const Tensor& plane, int64_t n_v, int64_t n_u) {
  const OnDeviceOf device(plane);
  const Tensor values = checked_plane(plane);
  check_resizable(values, n_v, n_u);
  Tensor out = at::empty({n_v, n_u, values.size(2)}, values.options());
  check_launch(
      launch_resize_plane(plane_of(values), n_v, n_u, out.mutable_data_ptr<float>(), device.stream), "resize_plane");
  return out;
}

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) {
  library.impl("plane_tv", &plane_tv_cuda);
  library.impl("plane_tv_backward", &plane_tv_backward_cuda);
  library.impl("resize_plane", &resize_plane_cuda);
}

}  // namespace
}  // namespace nerf_ssim
