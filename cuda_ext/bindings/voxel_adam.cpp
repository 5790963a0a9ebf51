// Torch operator of the update of voxel grids, in place.
#include "../include/voxel_adam.h"

#include <ATen/Parallel.h>
#include <torch/library.h>

#include "voxel_arguments.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

void voxel_adam_step(Tensor& param, Tensor& grad, Tensor& exp_avg, Tensor& exp_avg_sq, double lr, double beta1,
                     double beta2, double eps, int64_t step, bool skip_zero,
                     std::optional<at::ArrayRef<double>> tv_weights, bool tv_dense, const std::optional<Tensor>& rates,
                     const std::optional<Tensor>& touched) {
  TORCH_CHECK(step >= 1, "voxel_adam_step: step counts from 1");
  const VoxelUpdate update(param, grad, exp_avg, exp_avg_sq, tv_weights, tv_dense, rates,
                           checked_touched(touched, param));
  cpu::voxel_adam(masked_adam_factors(lr, beta1, beta2, eps, step), skip_zero, update.tv ? &*update.tv : nullptr,
                  update.shape, update.state, at::get_num_threads());
}

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  library.def(
      "voxel_adam_step(Tensor(a!) param, Tensor(b!) grad, Tensor(c!) exp_avg, Tensor(d!) exp_avg_sq, float lr,"
      " float beta1, float beta2, float eps, int step, bool skip_zero, float[]? tv_weights, bool tv_dense,"
      " Tensor? rates, Tensor? touched) -> ()",
      torch::dispatch(at::kCPU, &voxel_adam_step));
}

}  // namespace
}  // namespace nerf_ssim
