// Adam's update on the GPU, in place.
#include "../../include/adam.h"

#include <torch/library.h>

#include "../arguments.h"
#include "device.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

void adam_step_cuda(
    Tensor& param, const Tensor& grad, Tensor& exp_avg, Tensor& exp_avg_sq, double lr, double beta1, double beta2,
    double eps, int64_t step) {
  TORCH_CHECK(step >= 1, "adam_step: step counts from 1");
  for (const Tensor& tensor : {param, grad, exp_avg, exp_avg_sq}) check_updated(tensor, "adam_step", param);
  const AdamState state{
      param.mutable_data_ptr<float>(), grad.const_data_ptr<float>(), exp_avg.mutable_data_ptr<float>(),
      exp_avg_sq.mutable_data_ptr<float>(), param.numel()};
  const OnDeviceOf device(param);
  check_launch(
      launch_adam_step(plain_adam_factors(lr, beta1, beta2, eps, step), state, device.stream), "adam_step");
}

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) { library.impl("adam_step", &adam_step_cuda); }

}  // namespace
}  // namespace nerf_ssim
