// Volume compositing and sums over rays on the GPU. Offsets and ray indices are not read on the host, which would have
// to wait for the device: the kernels leave out what would lie outside the arrays.
#include "../../cuda/compositing.h"

#include <ATen/Context.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "checked.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

// Contiguous tensors of packed samples.
struct Samples {
  Tensor sigma, delta, offsets;

  Samples(const Tensor& sigma_, const Tensor& delta_, const Tensor& offsets_)
      : sigma(checked(sigma_, {sigma_.numel()}, "sigma", sigma_)),
        delta(checked(delta_, {sigma_.numel()}, "delta", sigma_)),
        offsets(checked_integers(offsets_, offsets_.numel(), "ray_offsets", sigma_)) {
    TORCH_CHECK(offsets.numel() > 0, "ray_offsets: expected [rays + 1]");
  }

  int64_t rays() const { return offsets.numel() - 1; }
};

std::tuple<Tensor, Tensor, Tensor> composite_cuda(
    const Tensor& sigma, const Tensor& delta, const Tensor& ray_offsets, double distance_scale) {
  const OnDeviceOf device(sigma);
  const Samples samples(sigma, delta, ray_offsets);
  const int64_t count = samples.sigma.numel();
  Tensor weights = at::empty({count}, samples.sigma.options()), light = at::empty({count}, samples.sigma.options());
  Tensor opacity = at::empty({samples.rays()}, samples.sigma.options());
  check_launch(
      launch_composite(
          samples.sigma.const_data_ptr<float>(), samples.delta.const_data_ptr<float>(),
          samples.offsets.const_data_ptr<int64_t>(), samples.rays(), count, static_cast<float>(distance_scale),
          weights.mutable_data_ptr<float>(), opacity.mutable_data_ptr<float>(), light.mutable_data_ptr<float>(),
          device.stream),
      "composite");
  return {weights, opacity, light};
}

Tensor composite_backward_cuda(
    const std::optional<Tensor>& grad_weights, const std::optional<Tensor>& grad_opacity,
    const std::optional<Tensor>& grad_transmittance, const Tensor& sigma, const Tensor& delta,
    const Tensor& ray_offsets, const Tensor& transmittance, double distance_scale) {
  const OnDeviceOf device(sigma);
  const Samples samples(sigma, delta, ray_offsets);
  const int64_t count = samples.sigma.numel();
  const auto upstream = [&](const std::optional<Tensor>& grad, int64_t size) {
    return grad && grad->defined() ? checked(*grad, {size}, "upstream gradient", sigma) : Tensor();
  };
  const Tensor of_weights = upstream(grad_weights, count), of_opacity = upstream(grad_opacity, samples.rays());
  const Tensor of_light = upstream(grad_transmittance, count);
  const Tensor light = checked(transmittance, {count}, "transmittance", sigma);
  Tensor grad_sigma = at::empty({count}, samples.sigma.options());
  check_launch(
      launch_composite_backward(
          samples.sigma.const_data_ptr<float>(), samples.delta.const_data_ptr<float>(),
          samples.offsets.const_data_ptr<int64_t>(), samples.rays(), count, static_cast<float>(distance_scale),
          light.const_data_ptr<float>(), pointer_or_null(of_weights), pointer_or_null(of_opacity),
          pointer_or_null(of_light), grad_sigma.mutable_data_ptr<float>(), device.stream),
      "composite_backward");
  return grad_sigma;
}

Tensor accumulate_cuda(const Tensor& weights, const Tensor& values, const Tensor& ray_index, int64_t n_rays) {
  TORCH_CHECK(values.dim() == 2 && n_rays >= 0, "values: expected [samples, C], and at least no ray");
  const OnDeviceOf device(weights);
  const int64_t samples = weights.numel(), channels = values.size(1);
  const Tensor w = checked(weights, {samples}, "weights", weights);
  const Tensor v = checked(values, {samples, channels}, "values", weights);
  const Tensor rays = checked_integers(ray_index, samples, "ray_index", weights);
  Tensor out = at::zeros({n_rays, channels}, v.options());
  if (at::globalContext().deterministicAlgorithms()) {
    const auto [sorted_rays, order] = at::sort(rays, /*stable=*/true, /*dim=*/0, /*descending=*/false);
    check_launch(
        launch_accumulate_ordered(
            w.const_data_ptr<float>(), v.const_data_ptr<float>(), sorted_rays.const_data_ptr<int64_t>(),
            order.const_data_ptr<int64_t>(), samples, channels, n_rays, out.mutable_data_ptr<float>(), device.stream),
        "accumulate");
  } else {
    check_launch(
        launch_accumulate(
            w.const_data_ptr<float>(), v.const_data_ptr<float>(), rays.const_data_ptr<int64_t>(), samples, channels,
            n_rays, out.mutable_data_ptr<float>(), device.stream),
        "accumulate");
  }
  return out;
}

std::tuple<Tensor, Tensor> accumulate_backward_cuda(
    const Tensor& grad, const Tensor& weights, const Tensor& values, const Tensor& ray_index) {
  TORCH_CHECK(grad.dim() == 2 && values.dim() == 2, "grad and values: expected two dimensions");
  const OnDeviceOf device(weights);
  const int64_t samples = weights.numel(), channels = values.size(1);
  const Tensor g = checked(grad, {grad.size(0), channels}, "grad", weights);
  const Tensor w = checked(weights, {samples}, "weights", weights);
  const Tensor v = checked(values, {samples, channels}, "values", weights);
  const Tensor rays = checked_integers(ray_index, samples, "ray_index", weights);
  Tensor grad_weights = at::empty({samples}, w.options()), grad_values = at::empty({samples, channels}, v.options());
  check_launch(
      launch_accumulate_backward(
          g.const_data_ptr<float>(), w.const_data_ptr<float>(), v.const_data_ptr<float>(),
          rays.const_data_ptr<int64_t>(), samples, channels, grad.size(0), grad_weights.mutable_data_ptr<float>(),
          grad_values.mutable_data_ptr<float>(), device.stream),
      "accumulate_backward");
  return {grad_weights, grad_values};
}

}  // namespace
}  // namespace nerf_ssim

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) {
  library.impl("composite", &nerf_ssim::composite_cuda);
  library.impl("composite_backward", &nerf_ssim::composite_backward_cuda);
  library.impl("accumulate", &nerf_ssim::accumulate_cuda);
  library.impl("accumulate_backward", &nerf_ssim::accumulate_backward_cuda);
}
