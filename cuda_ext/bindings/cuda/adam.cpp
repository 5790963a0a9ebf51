// Adam's updates on the GPU, in place: one launch for up to kMostAdamTensors tensors.
#include "../../include/adam_steps.h"

#include <torch/library.h>

#include <algorithm>

#include "../adam_arguments.h"
#include "device.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

void adam_steps_cuda(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                     const std::vector<Tensor>& exp_avgs, const std::vector<Tensor>& exp_avg_sqs,
                     at::ArrayRef<double> rates, at::IntArrayRef steps, double beta1, double beta2, double eps,
                     bool corrects_root) {
  const AdamArguments all(params, grads, exp_avgs, exp_avg_sqs, rates, steps);
  if (params.empty()) return;
  const OnDeviceOf device(params[0]);
  const auto factors_of = corrects_root ? plain_adam_factors : masked_adam_factors;
  for (size_t first = 0; first < params.size(); first += kMostAdamTensors) {
    AdamTensors tensors{};
    AdamStep step{};
    for (size_t i = first; i < std::min(params.size(), first + kMostAdamTensors); ++i) {
      const int64_t t = tensors.tensors++;
      step = factors_of(rates[i], beta1, beta2, eps, steps[i]);
      tensors.param[t] = params[i].mutable_data_ptr<float>();
      tensors.grad[t] = grads[i].mutable_data_ptr<float>();
      tensors.exp_avg[t] = exp_avgs[i].mutable_data_ptr<float>();
      tensors.exp_avg_sq[t] = exp_avg_sqs[i].mutable_data_ptr<float>();
      tensors.count[t] = params[i].numel();
      tensors.root_correction[t] = step.root_correction;
      tensors.step_size[t] = step.step_size;
    }
    check_launch(launch_adam_steps(step, corrects_root, tensors, device.stream), "adam_steps");
  }
}

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) { library.impl("adam_steps", &adam_steps_cuda); }

}  // namespace
}  // namespace nerf_ssim
