// Torch operator of S3IM on a GPU. The orders' values stay on the device: one that names no ray makes the loss NaN.
#include "../../cuda/s3im.h"

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "../ssim_arguments.h"
#include "cuda_arguments.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

std::tuple<Tensor, Tensor, Tensor> s3im_cuda(const Tensor& rendered_in, const Tensor& target_in,
                                             const Tensor& orders_in, int64_t patch_height, at::ArrayRef<double> taps,
                                             int64_t stride, int64_t padding, double c1, double c2,
                                             bool needs_gradient) {
  const OnDeviceOf device(rendered_in);
  check_cuda(target_in, "target", at::kFloat, rendered_in);
  check_cuda(orders_in, "orders", at::kLong, rendered_in);
  const Tensor rendered = rendered_in.contiguous(), target = target_in.contiguous(), orders = orders_in.contiguous();
  const SsimGeometry g = s3im_geometry(rendered, target, orders, patch_height, taps, stride, padding, c1, c2);
  const int64_t rays = rendered.size(0), channels = rendered.size(1);
  const auto options = rendered.options();
  // Either atomics add the gradient up on the way, or the derivatives are kept and collected ray by ray.
  const bool collects = needs_gradient && at::globalContext().deterministicAlgorithms();
  const bool scatters = needs_gradient && !collects;
  Tensor loss = at::empty({}, options), statistics = at::empty({5}, options);
  Tensor sums = at::empty({5, s3im_blocks(g.rows, g.columns, channels)}, options);
  Tensor gradient = scatters ? at::zeros_like(rendered) : collects ? at::empty_like(rendered) : at::empty({0}, options);
  Tensor derivatives = collects ? at::empty({3, g.rows, g.columns, channels}, options) : Tensor();
  check_launch(
      launch_s3im(rendered.const_data_ptr<float>(), target.const_data_ptr<float>(), orders.const_data_ptr<int64_t>(),
                  rays, channels, g.height, g.width, g.rows, g.columns, g.weights, g.taps, g.stride, g.before, g.c1,
                  g.c2, scatters ? gradient.mutable_data_ptr<float>() : nullptr,
                  collects ? derivatives.mutable_data_ptr<float>() : nullptr, sums.mutable_data_ptr<float>(),
                  loss.mutable_data_ptr<float>(), statistics.mutable_data_ptr<float>(), device.stream),
      "s3im");
  if (collects) {
    const auto [sorted_rays, positions] = at::sort(orders.view({-1}), /*stable=*/std::optional<bool>(true), /*dim=*/0);
    check_launch(
        launch_s3im_collect(rendered.const_data_ptr<float>(), target.const_data_ptr<float>(),
                            sorted_rays.const_data_ptr<int64_t>(), positions.const_data_ptr<int64_t>(), rays, channels,
                            g.height, g.width, g.rows, g.columns, g.weights, g.taps, g.stride, g.before,
                            derivatives.const_data_ptr<float>(), gradient.mutable_data_ptr<float>(), device.stream),
        "s3im");
  }
  return {loss, statistics, gradient};
}

}  // namespace

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, m) { m.impl("s3im", &s3im_cuda); }

}  // namespace nerf_ssim
