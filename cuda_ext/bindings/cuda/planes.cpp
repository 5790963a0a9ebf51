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

Planes planes_of(const std::vector<Tensor>& values, at::ArrayRef<double> factors) {
  Planes planes{};
  planes.count = static_cast<int64_t>(values.size());
  planes.first_factor = static_cast<float>(factors[0]);
  planes.second_factor = static_cast<float>(factors[1]);
  for (size_t p = 0; p < values.size(); ++p) {
    planes.values[p] = values[p].const_data_ptr<float>();
    planes.n_v[p] = values[p].size(0);
    planes.n_u[p] = values[p].size(1);
    planes.channels[p] = values[p].size(2);
  }
  return planes;
}

Tensor planes_tv_cuda(const std::vector<Tensor>& planes, at::ArrayRef<double> factors) {
  const std::vector<Tensor> values = checked_planes(planes, factors);
  const OnDeviceOf device(values[0]);
  Tensor partial_sums = at::empty({kMostPlanes * kPlaneTvPartialSums}, values[0].options());
  Tensor out = at::empty({}, values[0].options());
  check_launch(launch_planes_tv(planes_of(values, factors), partial_sums.mutable_data_ptr<float>(),
                                out.mutable_data_ptr<float>(), device.stream),
               "planes_tv");
  return out;
}

std::vector<Tensor> planes_tv_backward_cuda(const Tensor& grad, const std::vector<Tensor>& planes,
                                            at::ArrayRef<double> factors) {
  const std::vector<Tensor> values = checked_planes(planes, factors);
  const OnDeviceOf device(values[0]);
  const Tensor scale = checked(grad, {}, "grad", values[0]);
  std::vector<Tensor> gradients;
  PlaneGradients pointers{};
  for (size_t p = 0; p < values.size(); ++p) {
    gradients.push_back(at::empty(values[p].sizes(), values[p].options()));
    pointers.values[p] = gradients.back().mutable_data_ptr<float>();
  }
  check_launch(
      launch_planes_tv_backward(planes_of(values, factors), scale.const_data_ptr<float>(), pointers, device.stream),
      "planes_tv_backward");
  return gradients;
}

Tensor resize_plane_cuda(const Tensor& plane, int64_t n_v, int64_t n_u) {
  const OnDeviceOf device(plane);
  const Tensor values = checked_plane(plane);
  check_resizable(values, n_v, n_u);
  Tensor out = at::empty({n_v, n_u, values.size(2)}, values.options());
  check_launch(launch_resize_plane(plane_of(values), n_v, n_u, out.mutable_data_ptr<float>(), device.stream),
               "resize_plane");
  return out;
}

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) {
  library.impl("planes_tv", &planes_tv_cuda);
  library.impl("planes_tv_backward", &planes_tv_backward_cuda);
  library.impl("resize_plane", &resize_plane_cuda);
}

}  // namespace
}  // namespace nerf_ssim
