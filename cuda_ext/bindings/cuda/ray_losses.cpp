// DVGO's losses of a render on the GPU. Rays' numbers are not read on the host: the kernels leave out those of no ray.
#include "../../include/ray_losses.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "../arguments.h"
#include "device.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

// Contiguous tensors beside the pointers into them.
struct PointArguments {
  Tensor rgb, weights, ray_index, target;
  ColouredPoints points;

  PointArguments(const Tensor& rgb_, const Tensor& weights_, const Tensor& ray_index_, const Tensor& target_)
      : rgb(checked(rgb_, {weights_.numel(), 3}, "rgb", rgb_)),
        weights(checked(weights_, {weights_.numel()}, "weights", rgb_)),
        ray_index(checked_integers(ray_index_, weights_.numel(), "ray_index", rgb_)),
        target(checked(target_, {target_.size(0), 3}, "target", rgb_)),
        points{rgb.const_data_ptr<float>(),
               weights.const_data_ptr<float>(),
               ray_index.const_data_ptr<int64_t>(),
               target.const_data_ptr<float>(),
               weights.numel(),
               target.size(0)} {}
};

Tensor light_entropy_cuda(const Tensor& light) {
  const OnDeviceOf device(light);
  const Tensor values = checked(light, {light.numel()}, "light", light);
  Tensor partial_sums = at::empty({kRayLossPartialSums}, light.options()), out = at::empty({}, light.options());
  check_launch(
      launch_light_entropy(values.const_data_ptr<float>(), values.numel(), partial_sums.mutable_data_ptr<float>(),
                           out.mutable_data_ptr<float>(), device.stream),
      "light_entropy");
  return out;
}

Tensor light_entropy_backward_cuda(const Tensor& grad, const Tensor& light) {
  const OnDeviceOf device(light);
  const Tensor values = checked(light, {light.numel()}, "light", light), scale = checked(grad, {}, "grad", light);
  Tensor gradient = at::empty(light.sizes(), light.options());
  check_launch(
      launch_light_entropy_backward(values.const_data_ptr<float>(), values.numel(), scale.const_data_ptr<float>(),
                                    gradient.mutable_data_ptr<float>(), device.stream),
      "light_entropy_backward");
  return gradient;
}

Tensor point_error_cuda(const Tensor& rgb, const Tensor& weights, const Tensor& ray_index, const Tensor& target) {
  const OnDeviceOf device(rgb);
  const PointArguments arguments(rgb, weights, ray_index, target);
  Tensor partial_sums = at::empty({kRayLossPartialSums}, rgb.options()), out = at::empty({}, rgb.options());
  check_launch(launch_point_error(arguments.points, partial_sums.mutable_data_ptr<float>(),
                                  out.mutable_data_ptr<float>(), device.stream),
               "point_error");
  return out;
}

Tensor point_error_backward_cuda(const Tensor& grad, const Tensor& rgb, const Tensor& weights, const Tensor& ray_index,
                                 const Tensor& target) {
  const OnDeviceOf device(rgb);
  const PointArguments arguments(rgb, weights, ray_index, target);
  const Tensor scale = checked(grad, {}, "grad", rgb);
  Tensor gradient = at::empty({weights.numel(), 3}, rgb.options());
  check_launch(launch_point_error_backward(arguments.points, scale.const_data_ptr<float>(),
                                           gradient.mutable_data_ptr<float>(), device.stream),
               "point_error_backward");
  return gradient;
}

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) {
  library.impl("light_entropy", &light_entropy_cuda);
  library.impl("light_entropy_backward", &light_entropy_backward_cuda);
  library.impl("point_error", &point_error_cuda);
  library.impl("point_error_backward", &point_error_backward_cuda);
}

}  // namespace
}  // namespace nerf_ssim
