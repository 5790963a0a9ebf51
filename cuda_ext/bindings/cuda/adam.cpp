// Adam's update on the GPU, in place.
#include "../../cuda/adam.h"

#include <torch/library.h>

#include "../../include/adam_step.h"
#include "cuda_arguments.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

void update(
    const AdamStep& factors, bool is_masked, int64_t step, const Tensor& param, const Tensor& grad,
    const Tensor& exp_avg, const Tensor& exp_avg_sq) {
  TORCH_CHECK(step >= 1, "adam_step: step counts from 1");
  for (const Tensor* tensor : {&param, &grad, &exp_avg, &exp_avg_sq}) {
    check_cuda(*tensor, "adam_step", at::kFloat, param);
    TORCH_CHECK(
        tensor->is_contiguous() && tensor->sizes() == param.sizes(),
        "adam_step: all four tensors must be contiguous and of one shape");
  }
  const OnDeviceOf device(param);
  check_launch(
      launch_adam_step(
          param.mutable_data_ptr<float>(), grad.const_data_ptr<float>(), exp_avg.mutable_data_ptr<float>(),
          exp_avg_sq.mutable_data_ptr<float>(), param.numel(), is_masked, factors.beta1, factors.beta2,
          factors.first_weight, factors.second_weight, factors.root_correction, factors.eps, factors.step_size,
          device.stream),
      "adam_step");
}

void adam_step_cuda(
    Tensor& param, const Tensor& grad, Tensor& exp_avg, Tensor& exp_avg_sq, double lr, double beta1, double beta2,
    double eps, int64_t step) {
  update(plain_adam_factors(lr, beta1, beta2, eps, step), false, step, param, grad, exp_avg, exp_avg_sq);
}

void masked_adam_step_cuda(
    Tensor& param, const Tensor& grad, Tensor& exp_avg, Tensor& exp_avg_sq, double lr, double beta1, double beta2,
    double eps, int64_t step) {
  update(masked_adam_factors(lr, beta1, beta2, eps, step), true, step, param, grad, exp_avg, exp_avg_sq);
}

}  // namespace
}  // namespace nerf_ssim

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) {
  library.impl("adam_step", &nerf_ssim::adam_step_cuda);
  library.impl("masked_adam_step", &nerf_ssim::masked_adam_step_cuda);
}
