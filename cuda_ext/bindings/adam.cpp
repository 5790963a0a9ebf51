// Torch operator of Adam's updates, in place. On the CPU the published form is PyTorch's own kernel.
#include <ATen/Parallel.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/full.h>
#include <torch/library.h>

#include "../include/voxel_adam.h"
#include "adam_arguments.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

void adam_steps(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                const std::vector<Tensor>& exp_avgs, const std::vector<Tensor>& exp_avg_sqs, at::ArrayRef<double> rates,
                at::IntArrayRef steps, double beta1, double beta2, double eps, bool corrects_root) {
  const AdamArguments all(params, grads, exp_avgs, exp_avg_sqs, rates, steps);
  for (size_t i = 0; i < params.size(); ++i) {
    if (corrects_root) {
      const Tensor step = at::full({}, static_cast<double>(steps[i]), params[i].options());
      at::_fused_adam_(params[i], grads[i], exp_avgs[i], exp_avg_sqs[i], /*max_exp_avg_sqs=*/at::TensorList(), step,
                       rates[i], beta1, beta2, /*weight_decay=*/0.0, eps, /*amsgrad=*/false, /*maximize=*/false);
      continue;
    }
    const VoxelShape line{{1, params[i].numel(), 1}, 1};
    const VoxelState state{params[i].mutable_data_ptr<float>(),
                           grads[i].mutable_data_ptr<float>(),
                           exp_avgs[i].mutable_data_ptr<float>(),
                           exp_avg_sqs[i].mutable_data_ptr<float>(),
                           nullptr,
                           nullptr};
    cpu::voxel_adam(masked_adam_factors(rates[i], beta1, beta2, eps, steps[i]), /*skip_zero=*/false, nullptr, line,
                    state, at::get_num_threads());
  }
}

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  library.def(
      "adam_steps(Tensor(a!)[] params, Tensor(b!)[] grads, Tensor(c!)[] exp_avgs, Tensor(d!)[] exp_avg_sqs,"
      " float[] rates, int[] steps, float beta1, float beta2, float eps, bool corrects_root) -> ()",
      torch::dispatch(at::kCPU, &adam_steps));
}

}  // namespace
}  // namespace nerf_ssim
