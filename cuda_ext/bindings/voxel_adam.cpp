// Torch operators over cuda_ext/cpu/voxel_adam.h, in place.
#include "../cpu/voxel_adam.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <cmath>
#include <optional>

#include "voxel_arguments.h"

namespace {

using at::Tensor;

void check(const Tensor& tensor, const Tensor& like, const char* name) {
  TORCH_CHECK(
      tensor.scalar_type() == at::kFloat && tensor.device().is_cpu() && tensor.is_contiguous() &&
          tensor.sizes() == like.sizes(),
      name, ": expected contiguous float32 ", like.sizes(), " on the CPU, not ", tensor.scalar_type(), " ",
      tensor.sizes());
}

nerf_ssim::VoxelTv total_variation(at::ArrayRef<double> weights, bool is_dense) {
  TORCH_CHECK(weights.size() == 3, "weights: expected three, not ", weights.size());
  return {
      {static_cast<float>(weights[0]), static_cast<float>(weights[1]), static_cast<float>(weights[2])}, is_dense};
}

nerf_ssim::VoxelLines lines_of(const Tensor& grid) {
  TORCH_CHECK(grid.dim() == 4, "grid: expected [X, Y, Z, C], not ", grid.sizes());
  return {grid.size(0), grid.size(1), grid.size(2) * grid.size(3), grid.size(3)};
}

void add_voxel_tv_gradient(const Tensor& grid, Tensor& grad, at::ArrayRef<double> weights, bool dense) {
  check(grid, grid, "grid");
  check(grad, grid, "grad");
  nerf_ssim::add_voxel_tv(
      total_variation(weights, dense), lines_of(grid), grid.const_data_ptr<float>(), grad.mutable_data_ptr<float>(),
      at::get_num_threads());
}

void voxel_adam_step(
    Tensor& param, Tensor& grad, Tensor& exp_avg, Tensor& exp_avg_sq, double lr, double beta1, double beta2, double eps,
    int64_t step, bool skip_zero, std::optional<at::ArrayRef<double>> tv_weights, bool tv_dense,
    const std::optional<Tensor>& rates, const std::optional<Tensor>& touched) {
  TORCH_CHECK(step >= 1, "voxel_adam_step: step counts from 1");
  check(param, param, "param");
  check(grad, param, "grad");
  check(exp_avg, param, "exp_avg");
  check(exp_avg_sq, param, "exp_avg_sq");
  if (rates) check(*rates, param, "rates");
  const double power = static_cast<double>(step);
  const double correction = std::sqrt(1.0 - std::pow(beta2, power)) / (1.0 - std::pow(beta1, power));
  const nerf_ssim::AdamStep factors{
      static_cast<float>(beta1), static_cast<float>(beta2), static_cast<float>(1.0 - beta1),
      static_cast<float>(1.0 - beta2), 1.0f, static_cast<float>(eps), static_cast<float>(lr * correction)};
  const nerf_ssim::VoxelState state{
      param.mutable_data_ptr<float>(), grad.mutable_data_ptr<float>(), exp_avg.mutable_data_ptr<float>(),
      exp_avg_sq.mutable_data_ptr<float>(), rates ? rates->const_data_ptr<float>() : nullptr,
      nerf_ssim::checked_touched(touched, param)};
  std::optional<nerf_ssim::VoxelTv> tv;
  if (tv_weights) tv = total_variation(*tv_weights, tv_dense);
  const nerf_ssim::VoxelLines lines =
      tv || touched ? lines_of(param) : nerf_ssim::VoxelLines{1, param.numel(), 1, 1};
  nerf_ssim::voxel_adam(factors, skip_zero, tv ? &*tv : nullptr, lines, state, at::get_num_threads());
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  library.def("add_voxel_tv_gradient(Tensor grid, Tensor(a!) grad, float[] weights, bool dense) -> ()");
  library.def(
      "voxel_adam_step(Tensor(a!) param, Tensor(b!) grad, Tensor(c!) exp_avg, Tensor(d!) exp_avg_sq, float lr,"
      " float beta1, float beta2, float eps, int step, bool skip_zero, float[]? tv_weights, bool tv_dense,"
      " Tensor? rates, Tensor? touched) -> ()");
}

TORCH_LIBRARY_IMPL(nerf_ssim, CPU, library) {
  library.impl("add_voxel_tv_gradient", &add_voxel_tv_gradient);
  library.impl("voxel_adam_step", &voxel_adam_step);
}
