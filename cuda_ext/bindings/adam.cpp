// Torch operator of Adam's update, in place.
#include "../include/adam.h"

#include <ATen/Parallel.h>
#include <torch/library.h>

#include "arguments.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

void adam_step(
    Tensor& param, const Tensor& grad, Tensor& exp_avg, Tensor& exp_avg_sq, double lr, double beta1, double beta2,
    double eps, int64_t step) {
  TORCH_CHECK(step >= 1, "adam_step: step counts from 1");
  for (const Tensor& tensor : {param, grad, exp_avg, exp_avg_sq}) check_updated(tensor, "adam_step", param);
  cpu::adam_step(
      plain_adam_factors(lr, beta1, beta2, eps, step),
      {param.mutable_data_ptr<float>(), grad.const_data_ptr<float>(), exp_avg.mutable_data_ptr<float>(),
       exp_avg_sq.mutable_data_ptr<float>(), param.numel()},
      at::get_num_threads());
}

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  library.def(
      "adam_step(Tensor(a!) param, Tensor grad, Tensor(b!) exp_avg, Tensor(c!) exp_avg_sq, float lr, float beta1, "
      "float beta2, float eps, int step) -> ()",
      torch::dispatch(at::kCPU, &adam_step));
}

}  // namespace
}  // namespace nerf_ssim
