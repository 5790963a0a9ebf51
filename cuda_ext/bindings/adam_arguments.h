// Arguments of the operator of Adam's updates, whatever the device.
#pragma once

#include <vector>

#include "arguments.h"

namespace nerf_ssim {

// Tensors that are updated together, each with its moments, its learning rate and the number of its update.
struct AdamArguments {
  const std::vector<at::Tensor>&params, &grads, &exp_avgs, &exp_avg_sqs;
  at::ArrayRef<double> rates;
  at::IntArrayRef steps;

  AdamArguments(const std::vector<at::Tensor>& params_, const std::vector<at::Tensor>& grads_,
                const std::vector<at::Tensor>& exp_avgs_, const std::vector<at::Tensor>& exp_avg_sqs_,
                at::ArrayRef<double> rates_, at::IntArrayRef steps_)
      : params(params_), grads(grads_), exp_avgs(exp_avgs_), exp_avg_sqs(exp_avg_sqs_), rates(rates_), steps(steps_) {
    const size_t n = params.size();
    TORCH_CHECK(
        grads.size() == n && exp_avgs.size() == n && exp_avg_sqs.size() == n && rates.size() == n && steps.size() == n,
        "adam_steps: expected as many gradients, moments, rates and steps as parameters");
    for (size_t i = 0; i < n; ++i) {
      TORCH_CHECK(steps[i] >= 1, "adam_steps: steps count from 1");
      check_device(params[i], "params", params[0]);
      check_updated(params[i], "params", params[i]);
      check_updated(grads[i], "grads", params[i]);
      check_updated(exp_avgs[i], "exp_avgs", params[i]);
      check_updated(exp_avg_sqs[i], "exp_avg_sqs", params[i]);
    }
  }
};

}  // namespace nerf_ssim
