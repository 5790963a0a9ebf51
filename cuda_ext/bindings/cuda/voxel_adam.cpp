// Torch operator of the update of voxel grids on a GPU, in place. Nothing here waits for the device.
#include "../../include/voxel_adam.h"

#include <torch/library.h>

#include "../voxel_arguments.h"
#include "device.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

void voxel_adam_step_cuda(Tensor& param, Tensor& grad, Tensor& exp_avg, Tensor& exp_avg_sq, double lr, double beta1,
                          double beta2, double eps, int64_t step, bool skip_zero,
                          std::optional<at::ArrayRef<double>> tv_weights, bool tv_dense,
                          const std::optional<Tensor>& rates, const std::optional<Tensor>& touched) {
  const OnDeviceOf device(param);
  TORCH_CHECK(step >= 1, "voxel_adam_step: step counts from 1");
  VoxelUpdate update(param, grad, exp_avg, exp_avg_sq, tv_weights, tv_dense, rates, checked_touched(touched, param));
  check_runs(param.numel());
  if (update.tv)
    check_launch(launch_add_voxel_tv(*update.tv, update.shape, update.state.param, update.state.grad,
                                     update.state.touched, device.stream),
                 "voxel_adam_step");
  // Total variation that reaches all elements gives each a gradient, and without skipping all of them move.
  if ((update.tv && tv_dense) || !skip_zero) update.state.touched = nullptr;
  check_launch(launch_voxel_adam(masked_adam_factors(lr, beta1, beta2, eps, step), skip_zero, update.shape,
                                 update.state, device.stream),
               "voxel_adam_step");
}

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) { library.impl("voxel_adam_step", &voxel_adam_step_cuda); }

}  // namespace
}  // namespace nerf_ssim
