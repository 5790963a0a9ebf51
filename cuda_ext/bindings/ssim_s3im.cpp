// Torch operators of S3IM, the index of a stochastic image of rays, on the CPU.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>

#include "../cpu/s3im.h"
#include "ssim_arguments.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

S3imGeometry geometry(const Tensor& rendered, const Tensor& target, const Tensor& orders, int64_t patch_height,
                      at::ArrayRef<double> taps, int64_t stride, int64_t padding, double c1, double c2) {
  check_float32(rendered, "rendered");
  check_float32(target, "target");
  TORCH_CHECK(rendered.dim() == 2 && rendered.sizes() == target.sizes(), "rendered, target: expected [rays, channels]");
  TORCH_CHECK(orders.scalar_type() == at::kLong && orders.is_contiguous(), "orders: expected contiguous int64");
  const int64_t rays = rendered.size(0), channels = rendered.size(1), pixels = orders.numel();
  TORCH_CHECK(rays >= 1 && channels >= 1 && pixels >= 1, "rendered, orders: expected at least one ray");
  TORCH_CHECK(patch_height >= 1 && pixels % patch_height == 0, "orders: ", pixels, " do not fill ", patch_height, " rows");
  const int64_t* const order = orders.const_data_ptr<int64_t>();
  const auto [least, most] = std::minmax_element(order, order + pixels);
  TORCH_CHECK(*least >= 0 && *most < rays, "orders: expected indices in [0, ", rays, ")");
  return {ssim_geometry(1, patch_height, pixels / patch_height, taps, stride, padding, padding, c1, c2), rays, channels,
          order};
}

std::tuple<Tensor, Tensor, Tensor> s3im(const Tensor& rendered_in, const Tensor& target_in, const Tensor& orders_in,
                                        int64_t patch_height, at::ArrayRef<double> taps, int64_t stride, int64_t padding,
                                        double c1, double c2, bool needs_gradient) {
  const Tensor rendered = rendered_in.contiguous(), target = target_in.contiguous(), orders = orders_in.contiguous();
  const S3imGeometry s = geometry(rendered, target, orders, patch_height, taps, stride, padding, c1, c2);
  const int64_t map = s.windows.rows * s.windows.columns * s.channels;
  Tensor partials = at::empty({needs_gradient ? 3 : 0, s.windows.rows, s.windows.columns, s.channels}, rendered.options());
  float* const start = partials.mutable_data_ptr<float>();
  const SsimPartials<float> wanted =
      needs_gradient ? SsimPartials<float>{nullptr, start, start + map, start + 2 * map} : SsimPartials<float>{};
  const SsimSums sums = s3im_forward(s, rendered.const_data_ptr<float>(), target.const_data_ptr<float>(), wanted);
  auto [loss, statistics] = means_of(sums, map, rendered.options());
  *loss.mutable_data_ptr<float>() = static_cast<float>(1 - sums.ssim / static_cast<double>(map));
  return {loss, statistics, partials};
}

Tensor s3im_adjoint_op(const Tensor& rendered_in, const Tensor& target_in, const Tensor& orders_in,
                       const Tensor& partials_in, const Tensor& scale, int64_t patch_height, at::ArrayRef<double> taps,
                       int64_t stride, int64_t padding) {
  const Tensor rendered = rendered_in.contiguous(), target = target_in.contiguous(), orders = orders_in.contiguous();
  const S3imGeometry s = geometry(rendered, target, orders, patch_height, taps, stride, padding, 0, 0);
  TORCH_CHECK(partials_in.sizes() == at::IntArrayRef({3, s.windows.rows, s.windows.columns, s.channels}),
              "partials: expected [3, rows, columns, channels]");
  check_float32(partials_in, "partials");
  const Tensor partials = partials_in.contiguous();
  const int64_t map = s.windows.rows * s.windows.columns * s.channels;
  const float* const start = partials.const_data_ptr<float>();
  Tensor grad = at::empty_like(rendered);
  s3im_adjoint(s, rendered.const_data_ptr<float>(), target.const_data_ptr<float>(),
               {nullptr, start, start + map, start + 2 * map}, scale.item<float>(), grad.mutable_data_ptr<float>());
  return grad;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(nerf_ssim, m) {
  m.def(
      "s3im(Tensor rendered, Tensor target, Tensor orders, int patch_height, float[] taps, int stride, int padding, "
      "float c1, float c2, bool needs_gradient) -> (Tensor loss, Tensor statistics, Tensor partials)");
  m.def(
      "s3im_adjoint(Tensor rendered, Tensor target, Tensor orders, Tensor partials, Tensor scale, int patch_height, "
      "float[] taps, int stride, int padding) -> Tensor");
}

TORCH_LIBRARY_IMPL(nerf_ssim, CPU, m) {
  m.impl("s3im", &s3im);
  m.impl("s3im_adjoint", &s3im_adjoint_op);
}

}  // namespace nerf_ssim
