// Torch operators of S3IM, the index of a stochastic image of rays, on the CPU.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <tuple>

#include "../cpu/s3im.h"
#include "ssim_arguments.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

S3imGeometry geometry(const SsimGeometry& windows, const Tensor& rendered, const Tensor& orders) {
  const int64_t rays = rendered.size(0), pixels = orders.numel();
  const int64_t* const order = orders.const_data_ptr<int64_t>();
  int64_t signs = 0;  // negative where an index is below 0 or above rays - 1
  for (int64_t p = 0; p < pixels; ++p) signs |= order[p] | (rays - 1 - order[p]);
  TORCH_CHECK(signs >= 0, "orders: expected indices in [0, ", rays, ")");
  return {windows, rays, rendered.size(1), order};
}

std::tuple<Tensor, Tensor, Tensor> s3im_op(const Tensor& rendered_in, const Tensor& target_in, const Tensor& orders_in,
                                           int64_t patch_height, at::ArrayRef<double> taps, int64_t stride,
                                           int64_t padding, double c1, double c2, bool needs_gradient) {
  const Tensor rendered = rendered_in.contiguous(), target = target_in.contiguous(), orders = orders_in.contiguous();
  const SsimGeometry g = s3im_geometry(rendered, target, orders, patch_height, taps, stride, padding, c1, c2);
  const S3imGeometry s = geometry(g, rendered, orders);
  Tensor gradient = needs_gradient ? at::empty_like(rendered) : at::empty({0}, rendered.options());
  const SsimSums sums = s3im(s, rendered.const_data_ptr<float>(), target.const_data_ptr<float>(),
                             needs_gradient ? gradient.mutable_data_ptr<float>() : nullptr);
  const int64_t windows = s.windows.rows * s.windows.columns * s.channels;
  auto [loss, statistics] = means_of(sums, windows, rendered.options());
  *loss.mutable_data_ptr<float>() = static_cast<float>(1 - sums.ssim / static_cast<double>(windows));
  return {loss, statistics, gradient};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(nerf_ssim, m) {
  m.def(
      "s3im(Tensor rendered, Tensor target, Tensor orders, int patch_height, float[] taps, int stride, int padding, "
      "float c1, float c2, bool needs_gradient) -> (Tensor loss, Tensor statistics, Tensor gradient)");
}

TORCH_LIBRARY_IMPL(nerf_ssim, CPU, m) { m.impl("s3im", &s3im_op); }

}  // namespace nerf_ssim
