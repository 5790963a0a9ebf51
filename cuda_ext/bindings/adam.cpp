// torch operators of Adam's update, in place.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include "../cpu/adam.h"

namespace {

using at::Tensor;

void check(const Tensor& param, const Tensor& grad, const Tensor& exp_avg, const Tensor& exp_avg_sq, int64_t step) {
  TORCH_CHECK(step >= 1, "adam_step: step counts from 1");
  for (const Tensor* tensor : {&param, &grad, &exp_avg, &exp_avg_sq})
    TORCH_CHECK(
        tensor->scalar_type() == at::kFloat && tensor->device().is_cpu() && tensor->is_contiguous() &&
            tensor->sizes() == param.sizes(),
        "adam_step: all four tensors must be contiguous float32 of one shape on the CPU");
}

void run(
    const nerf_ssim::AdamStep& factors, bool is_masked, const Tensor& param, const Tensor& grad, const Tensor& exp_avg,
    const Tensor& exp_avg_sq) {
  nerf_ssim::adam_update(
      factors, is_masked, param.numel(), param.mutable_data_ptr<float>(), grad.const_data_ptr<float>(),
      exp_avg.mutable_data_ptr<float>(), exp_avg_sq.mutable_data_ptr<float>(), at::get_num_threads());
}

void adam_step(
    Tensor& param, const Tensor& grad, Tensor& exp_avg, Tensor& exp_avg_sq, double lr, double beta1, double beta2,
    double eps, int64_t step) {
  check(param, grad, exp_avg, exp_avg_sq, step);
  run(nerf_ssim::plain_adam_factors(lr, beta1, beta2, eps, step), false, param, grad, exp_avg, exp_avg_sq);
}

void masked_adam_step(
    Tensor& param, const Tensor& grad, Tensor& exp_avg, Tensor& exp_avg_sq, double lr, double beta1, double beta2,
    double eps, int64_t step) {
  check(param, grad, exp_avg, exp_avg_sq, step);
  run(nerf_ssim::masked_adam_factors(lr, beta1, beta2, eps, step), true, param, grad, exp_avg, exp_avg_sq);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(nerf_ssim, m) {
  m.def(
      "adam_step(Tensor(a!) param, Tensor grad, Tensor(b!) exp_avg, Tensor(c!) exp_avg_sq, float lr, float beta1, "
      "float beta2, float eps, int step) -> ()");
  m.def(
      "masked_adam_step(Tensor(a!) param, Tensor grad, Tensor(b!) exp_avg, Tensor(c!) exp_avg_sq, float lr, "
      "float beta1, float beta2, float eps, int step) -> ()");
}

TORCH_LIBRARY_IMPL(nerf_ssim, CPU, m) {
  m.impl("adam_step", &adam_step);
  m.impl("masked_adam_step", &masked_adam_step);
}
