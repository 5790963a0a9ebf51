// Torch operator of S3IM, the index of a stochastic image of rays, on the CPU.
#include <torch/library.h>

#include <tuple>

#include "ssim_arguments.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

std::tuple<Tensor, Tensor, Tensor> s3im(const Tensor& rendered, const Tensor& target, const Tensor& orders,
                                        int64_t patch_height, at::ArrayRef<double> taps, int64_t stride,
                                        int64_t padding, double c1, double c2, at::ArrayRef<double> mix,
                                        bool needs_gradient) {
  const StochasticImage image(rendered, target, orders, patch_height, taps, stride, padding, c1, c2, ssim_mix(mix));
  int64_t signs = 0;  // negative where an order is below 0 or above rays - 1
  for (int64_t p = 0; p < orders.numel(); ++p) signs |= image.s.orders[p] | (image.s.rays - 1 - image.s.orders[p]);
  TORCH_CHECK(signs >= 0, "orders: expected indices in [0, ", image.s.rays, ")");
  Tensor gradient = needs_gradient ? at::empty_like(image.rendered) : at::empty({0}, rendered.options());
  const auto sums = cpu::s3im(image.s, image.rendered_data(), image.target_data(),
                              needs_gradient ? gradient.mutable_data_ptr<float>() : nullptr);
  const SsimMix& weights = image.s.windows.mix;
  const auto [index, statistics] = means_of(sums, image.windows(), weights, rendered.options());
  const double total = double{weights.product} + weights.luminance + weights.structure;
  return {scalar_of(total - index, rendered.options()), statistics, gradient};
}

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  library.def(
      "s3im(Tensor rendered, Tensor target, Tensor orders, int patch_height, float[] taps, int stride, int padding, "
      "float c1, float c2, float[] mix, bool needs_gradient) -> (Tensor loss, Tensor statistics, Tensor gradient)",
      torch::dispatch(at::kCPU, &s3im));
}

}  // namespace
}  // namespace nerf_ssim
