// Torch operator of S3IM on a GPU. The orders' values stay on the device: one that names no ray makes the loss NaN.
#include <ATen/Context.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <tuple>

#include "../ssim_arguments.h"
#include "device.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

std::tuple<Tensor, Tensor, Tensor> s3im_cuda(const Tensor& rendered, const Tensor& target, const Tensor& orders,
                                             int64_t patch_height, at::ArrayRef<double> taps, int64_t stride,
                                             int64_t padding, double c1, double c2, at::ArrayRef<double> mix,
                                             bool needs_gradient) {
  const OnDeviceOf device(rendered);
  const StochasticImage image(rendered, target, orders, patch_height, taps, stride, padding, c1, c2, ssim_mix(mix));
  const SsimGeometry& windows = image.s.windows;
  const auto options = rendered.options();
  // Either atomics add the gradient up on the way, or the derivatives are kept and collected ray by ray.
  const bool collects = needs_gradient && at::globalContext().deterministicAlgorithms();
  const bool scatters = needs_gradient && !collects;
  Tensor loss = at::empty({}, options), statistics = at::empty({5}, options);
  Tensor sums = at::empty({5, s3im_blocks(image.s)}, options);
  Tensor gradient = scatters   ? at::zeros_like(image.rendered)
                    : collects ? at::empty_like(image.rendered)
                               : at::empty({0}, options);
  Tensor derivatives = collects ? at::empty({3, windows.rows, windows.columns, image.s.channels}, options) : Tensor();
  check_launch(launch_s3im(image.s, image.rendered_data(), image.target_data(),
                           scatters ? gradient.mutable_data_ptr<float>() : nullptr,
                           collects ? derivatives.mutable_data_ptr<float>() : nullptr, sums.mutable_data_ptr<float>(),
                           loss.mutable_data_ptr<float>(), statistics.mutable_data_ptr<float>(), device.stream),
               "s3im");
  if (collects) {
    const auto [sorted_rays, positions] =
        at::sort(image.orders.view({-1}), /*stable=*/std::optional<bool>(true), /*dim=*/0);
    check_launch(
        launch_s3im_collect(image.s, image.rendered_data(), image.target_data(), sorted_rays.const_data_ptr<int64_t>(),
                            positions.const_data_ptr<int64_t>(), derivatives.const_data_ptr<float>(),
                            gradient.mutable_data_ptr<float>(), device.stream),
        "s3im");
  }
  return {loss, statistics, gradient};
}

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) { library.impl("s3im", &s3im_cuda); }

}  // namespace
}  // namespace nerf_ssim
