// Choosing samples by weight on the GPU. Their number sizes the output, so that the host waits for it: the one wait.
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include "../../include/marching.h"
#include "../selection_arguments.h"
#include "device.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

SixTensors select_samples_cuda(const Tensor& weights, const Tensor& ray_index, const Tensor& coords,
                               const Tensor& directions, const std::optional<Tensor>& t, double threshold) {
  const OnDeviceOf device(weights);
  const SelectionArguments arguments(weights, ray_index, coords, directions, t, threshold);
  const WeighedSamples& samples = arguments.samples;
  // 1. how many samples each warp keeps, and where they go
  const int64_t warps = (samples.samples + kSamplesOfAWarp - 1) / kSamplesOfAWarp;
  Tensor counts = at::empty({warps}, arguments.ray_index.options());
  Tensor before = at::empty({warps + 1}, arguments.ray_index.options());
  check_launch(launch_count_chosen(samples, counts.mutable_data_ptr<int64_t>(), device.stream), "select_samples");
  check_launch(
      launch_sample_offsets(counts.const_data_ptr<int64_t>(), warps, before.mutable_data_ptr<int64_t>(), device.stream),
      "select_samples");
  // 2. the samples
  const SelectionResults results(arguments, before[warps].item<int64_t>());
  check_launch(launch_gather_chosen(samples, before.const_data_ptr<int64_t>(), results.chosen, device.stream),
               "select_samples");
  return results.tensors();
}

Tensor select_samples_backward_cuda(const Tensor& grad, const Tensor& index, int64_t samples) {
  const OnDeviceOf device(grad);
  const Tensor upstream = checked(grad, {grad.numel()}, "grad", grad);
  const Tensor places = checked_integers(index, grad.numel(), "index", grad);
  Tensor gradient = at::zeros({samples}, grad.options());
  check_launch(launch_spread_chosen(upstream.const_data_ptr<float>(), places.const_data_ptr<int64_t>(), places.numel(),
                                    gradient.mutable_data_ptr<float>(), samples, device.stream),
               "select_samples_backward");
  return gradient;
}

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) {
  library.impl("select_samples", &select_samples_cuda);
  library.impl("select_samples_backward", &select_samples_backward_cuda);
}

}  // namespace
}  // namespace nerf_ssim
