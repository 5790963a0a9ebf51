// Torch operators of total variation and updates of voxel grids on a GPU, in place. Nothing here waits for the device.
#include "../../cuda/voxel_adam.h"

#include <torch/library.h>

#include <optional>

#include "../../include/adam_step.h"
#include "cuda_arguments.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

void check(const Tensor& tensor, const Tensor& like, const char* name) {
  check_cuda(tensor, name, at::kFloat, like);
  TORCH_CHECK(
      tensor.is_contiguous() && tensor.sizes() == like.sizes(), name, ": expected a contiguous tensor of shape ",
      like.sizes());
}

void add_tv(const Tensor& grid, const Tensor& grad, at::ArrayRef<double> weights, bool is_dense, cudaStream_t stream) {
  TORCH_CHECK(grid.dim() == 4, "grid: expected [X, Y, Z, C], not ", grid.sizes());
  TORCH_CHECK(weights.size() == 3, "weights: expected three, not ", weights.size());
  check_launch(
      launch_add_voxel_tv(
          grid.const_data_ptr<float>(), grid.size(0), grid.size(1), grid.size(2), grid.size(3),
          static_cast<float>(weights[0]), static_cast<float>(weights[1]), static_cast<float>(weights[2]), is_dense,
          grad.mutable_data_ptr<float>(), stream),
      "add_voxel_tv_gradient");
}

void add_voxel_tv_gradient_cuda(const Tensor& grid, Tensor& grad, at::ArrayRef<double> weights, bool dense) {
  const OnDeviceOf device(grid);
  check(grid, grid, "grid");
  check(grad, grid, "grad");
  add_tv(grid, grad, weights, dense, device.stream);
}

void voxel_adam_step_cuda(
    Tensor& param, Tensor& grad, Tensor& exp_avg, Tensor& exp_avg_sq, double lr, double beta1, double beta2, double eps,
    int64_t step, bool skip_zero, std::optional<at::ArrayRef<double>> tv_weights, bool tv_dense,
    const std::optional<Tensor>& rates, const std::optional<Tensor>& /* touched: the whole gradient is read here */) {
  const OnDeviceOf device(param);
  TORCH_CHECK(step >= 1, "voxel_adam_step: step counts from 1");
  check(param, param, "param");
  check(grad, param, "grad");
  check(exp_avg, param, "exp_avg");
  check(exp_avg_sq, param, "exp_avg_sq");
  if (rates) check(*rates, param, "rates");
  if (tv_weights) add_tv(param, grad, *tv_weights, tv_dense, device.stream);
  const AdamStep factors = masked_adam_factors(lr, beta1, beta2, eps, step);
  check_launch(
      launch_voxel_adam(
          param.mutable_data_ptr<float>(), grad.mutable_data_ptr<float>(), exp_avg.mutable_data_ptr<float>(),
          exp_avg_sq.mutable_data_ptr<float>(), rates ? rates->const_data_ptr<float>() : nullptr, param.numel(),
          skip_zero, factors.beta1, factors.beta2, factors.first_weight, factors.second_weight, factors.eps,
          factors.step_size, device.stream),
      "voxel_adam_step");
}

}  // namespace
}  // namespace nerf_ssim

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) {
  library.impl("add_voxel_tv_gradient", &nerf_ssim::add_voxel_tv_gradient_cuda);
  library.impl("voxel_adam_step", &nerf_ssim::voxel_adam_step_cuda);
}
