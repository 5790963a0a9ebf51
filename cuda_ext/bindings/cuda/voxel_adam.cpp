// Torch operator of the update of voxel grids on a GPU, in place. Nothing here waits for the device.
#include "../../include/voxel_adam.h"

#include <torch/library.h>

#include "../voxel_arguments.h"
#include "device.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

void voxel_adam_step_cuda(
    Tensor& param, Tensor& grad, Tensor& exp_avg, Tensor& exp_avg_sq, double lr, double beta1, double beta2, double eps,
    int64_t step, bool skip_zero, std::optional<at::ArrayRef<double>> tv_weights, bool tv_dense,
    const std::optional<Tensor>& rates, const std::optional<Tensor>& /* touched: the whole gradient is read here */) {
  const OnDeviceOf device(param);
  TORCH_CHECK(step >= 1, "voxel_adam_step: step counts from 1");
  const VoxelUpdate update(param, grad, exp_avg, exp_avg_sq, tv_weights, tv_dense, rates, nullptr);
  if (update.tv)
    check_launch(
        launch_add_voxel_tv(*update.tv, update.shape, update.state.param, update.state.grad, device.stream),
        "voxel_adam_step");
  check_launch(
      launch_voxel_adam(
          masked_adam_factors(lr, beta1, beta2, eps, step), skip_zero, param.numel(), update.state, device.stream),
      "voxel_adam_step");
}

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) {
  library.impl("voxel_adam_step", &voxel_adam_step_cuda);
}

}  // namespace
}  // namespace nerf_ssim
