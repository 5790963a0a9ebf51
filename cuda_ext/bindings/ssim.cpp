// Torch operators of the structural-similarity index on the CPU.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>

#include "../cpu/ssim.h"
#include "ssim_arguments.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

std::tuple<Tensor, Tensor, Tensor> ssim_mean(const Tensor& x_in, const Tensor& y_in, at::ArrayRef<double> taps,
                                             int64_t stride, int64_t before, int64_t after, double c1, double c2,
                                             bool needs_x, bool needs_y) {
  const SsimGeometry g = image_geometry(x_in, y_in, taps, stride, before, after, c1, c2);
  const Tensor x = x_in.contiguous(), y = y_in.contiguous();
  Tensor partials = at::empty({maps_for(needs_x, needs_y), g.planes, g.rows, g.columns}, x.options());
  const int64_t map = g.planes * g.rows * g.columns;
  const SsimSums sums = ssim_forward(g, x.const_data_ptr<float>(), y.const_data_ptr<float>(),
                                     partials_of(partials.mutable_data_ptr<float>(), map, needs_x, needs_y));
  auto [mean, statistics] = means_of(sums, map, x.options());
  return {mean, statistics, partials};
}

Tensor ssim_moments_op(const Tensor& x_in, const Tensor& y_in, at::ArrayRef<double> taps, int64_t stride, int64_t before,
                       int64_t after) {
  const SsimGeometry g = image_geometry(x_in, y_in, taps, stride, before, after, 0, 0);
  const Tensor x = x_in.contiguous(), y = y_in.contiguous();
  Tensor moments = at::empty({4, g.planes, g.rows, g.columns}, x.options());
  ssim_moments(g, x.const_data_ptr<float>(), y.const_data_ptr<float>(), moments.mutable_data_ptr<float>());
  return moments;
}

std::tuple<Tensor, Tensor> ssim_adjoint_op(const Tensor& x_in, const Tensor& y_in, const Tensor& partials_in,
                                           const Tensor& scale, double factor, at::ArrayRef<double> taps, int64_t stride,
                                           int64_t before, int64_t after, bool needs_x, bool needs_y) {
  const SsimGeometry g = image_geometry(x_in, y_in, taps, stride, before, after, 0, 0);
  TORCH_CHECK(needs_x || needs_y, "ssim_adjoint: neither gradient is wanted");
  const int64_t maps = maps_for(needs_x, needs_y);
  TORCH_CHECK(partials_in.sizes() == at::IntArrayRef({maps, g.planes, g.rows, g.columns}),
              "partials: expected [", maps, ", planes, rows, columns]");
  check_float32(partials_in, "partials");
  const Tensor x = x_in.contiguous(), y = y_in.contiguous(), partials = partials_in.contiguous();
  Tensor grad_x = needs_x ? at::empty_like(x) : at::empty({0}, x.options());
  Tensor grad_y = needs_y ? at::empty_like(y) : at::empty({0}, y.options());
  ssim_adjoint(g, x.const_data_ptr<float>(), y.const_data_ptr<float>(),
               partials_of(partials.const_data_ptr<float>(), g.planes * g.rows * g.columns, needs_x, needs_y),
               static_cast<float>(scale.item<double>() * factor), needs_x ? grad_x.mutable_data_ptr<float>() : nullptr,
               needs_y ? grad_y.mutable_data_ptr<float>() : nullptr);
  return {grad_x, grad_y};
}

std::tuple<Tensor, Tensor> ssim_recompute(const Tensor& x, const Tensor& y, const Tensor& scale, double factor,
                                          at::ArrayRef<double> taps, int64_t stride, int64_t before, int64_t after,
                                          double c1, double c2, bool needs_x, bool needs_y) {
  const auto [mean, statistics, partials] = ssim_mean(x, y, taps, stride, before, after, c1, c2, needs_x, needs_y);
  return ssim_adjoint_op(x, y, partials, scale, factor, taps, stride, before, after, needs_x, needs_y);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(nerf_ssim, m) {
  m.def(
      "ssim_mean(Tensor x, Tensor y, float[] taps, int stride, int before, int after, float c1, float c2, bool needs_x, "
      "bool needs_y) -> (Tensor mean, Tensor statistics, Tensor partials)");
  m.def("ssim_moments(Tensor x, Tensor y, float[] taps, int stride, int before, int after) -> Tensor");
  m.def(
      "ssim_adjoint(Tensor x, Tensor y, Tensor partials, Tensor scale, float factor, float[] taps, int stride, int before, int after, "
      "bool needs_x, bool needs_y) -> (Tensor grad_x, Tensor grad_y)");
  m.def(
      "ssim_recompute(Tensor x, Tensor y, Tensor scale, float factor, float[] taps, int stride, int before, int after, "
      "float c1, float c2, bool needs_x, bool needs_y) -> (Tensor grad_x, Tensor grad_y)");
}

TORCH_LIBRARY_IMPL(nerf_ssim, CPU, m) {
  m.impl("ssim_mean", &ssim_mean);
  m.impl("ssim_moments", &ssim_moments_op);
  m.impl("ssim_adjoint", &ssim_adjoint_op);
  m.impl("ssim_recompute", &ssim_recompute);
}

}  // namespace nerf_ssim
