// Torch operators over cuda_ext/cpu/compositing.h.
#include "../cpu/compositing.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <optional>
#include <tuple>

namespace {

using at::Tensor;

Tensor checked(const Tensor& tensor, at::IntArrayRef shape, const char* name) {
  TORCH_CHECK(
      tensor.scalar_type() == at::kFloat && tensor.sizes() == shape, name, ": expected float32 ", shape, ", not ",
      tensor.scalar_type(), " ", tensor.sizes());
  return tensor.contiguous();
}

// Contiguous tensors beside the pointers into them. Offsets that would lead out of the arrays are refused.
struct Samples {
  Tensor sigma, delta, offsets;
  nerf_ssim::RaySamples rays;

  Samples(const Tensor& sigma_, const Tensor& delta_, const Tensor& offsets_, double distance_scale)
      : sigma(checked(sigma_, {sigma_.numel()}, "sigma")),
        delta(checked(delta_, {sigma_.numel()}, "delta")),
        offsets(offsets_.contiguous()) {
    TORCH_CHECK(
        offsets.scalar_type() == at::kLong && offsets.dim() == 1 && offsets.numel() > 0,
        "ray_offsets: expected int64 [rays + 1]");
    const int64_t* first = offsets.const_data_ptr<int64_t>();
    const int64_t n = offsets.numel();
    TORCH_CHECK(
        first[0] == 0 && first[n - 1] == sigma.numel() && std::is_sorted(first, first + n),
        "ray_offsets: must ascend from 0 to the number of samples");
    rays = {sigma.const_data_ptr<float>(), delta.const_data_ptr<float>(), first, n - 1, static_cast<float>(distance_scale)};
  }
};

std::tuple<Tensor, Tensor, Tensor> composite(
    const Tensor& sigma, const Tensor& delta, const Tensor& ray_offsets, double distance_scale) {
  const Samples samples(sigma, delta, ray_offsets, distance_scale);
  Tensor weights = at::empty(sigma.sizes(), sigma.options()), light = at::empty(sigma.sizes(), sigma.options());
  Tensor opacity = at::empty({samples.rays.rays}, sigma.options());
  nerf_ssim::composite(
      samples.rays, weights.data_ptr<float>(), opacity.data_ptr<float>(), light.data_ptr<float>(), at::get_num_threads());
  return {weights, opacity, light};
}

Tensor composite_backward(
    const std::optional<Tensor>& grad_weights, const std::optional<Tensor>& grad_opacity,
    const std::optional<Tensor>& grad_transmittance, const Tensor& sigma, const Tensor& delta,
    const Tensor& ray_offsets, const Tensor& transmittance, double distance_scale) {
  const Samples samples(sigma, delta, ray_offsets, distance_scale);
  const int64_t n = sigma.numel();
  const auto upstream = [](const std::optional<Tensor>& grad, int64_t size) {
    return grad && grad->defined() ? checked(*grad, {size}, "upstream gradient") : Tensor();
  };
  const auto pointer = [](const Tensor& grad) { return grad.defined() ? grad.const_data_ptr<float>() : nullptr; };
  const Tensor of_weights = upstream(grad_weights, n), of_opacity = upstream(grad_opacity, samples.rays.rays);
  const Tensor of_light = upstream(grad_transmittance, n), light = checked(transmittance, {n}, "transmittance");
  Tensor grad_sigma = at::empty(sigma.sizes(), sigma.options());
  nerf_ssim::composite_backward(
      samples.rays, light.const_data_ptr<float>(), pointer(of_weights), pointer(of_opacity), pointer(of_light),
      grad_sigma.data_ptr<float>(), at::get_num_threads());
  return grad_sigma;
}

Tensor checked_rays(const Tensor& ray_index, int64_t samples, int64_t n_rays) {
  TORCH_CHECK(ray_index.scalar_type() == at::kLong && ray_index.dim() == 1 && ray_index.numel() == samples,
              "ray_index: expected int64 [samples]");
  const Tensor rays = ray_index.contiguous();
  const int64_t* first = rays.const_data_ptr<int64_t>();
  TORCH_CHECK(
      std::all_of(first, first + samples, [&](int64_t ray) { return ray >= 0 && ray < n_rays; }),
      "ray_index: an entry is outside [0, ", n_rays, ")");
  return rays;
}

Tensor accumulate(const Tensor& weights, const Tensor& values, const Tensor& ray_index, int64_t n_rays) {
  const int64_t samples = weights.numel();
  const Tensor w = checked(weights, {samples}, "weights"), v = checked(values, {samples, values.size(1)}, "values");
  const Tensor rays = checked_rays(ray_index, samples, n_rays);
  Tensor out = at::zeros({n_rays, v.size(1)}, v.options());
  nerf_ssim::accumulate(
      w.const_data_ptr<float>(), v.const_data_ptr<float>(), rays.const_data_ptr<int64_t>(), samples, v.size(1),
      out.data_ptr<float>(), at::get_num_threads());
  return out;
}

std::tuple<Tensor, Tensor> accumulate_backward(
    const Tensor& grad, const Tensor& weights, const Tensor& values, const Tensor& ray_index) {
  const int64_t samples = weights.numel(), channels = values.size(1);
  const Tensor g = checked(grad, {grad.size(0), channels}, "grad"), w = checked(weights, {samples}, "weights");
  const Tensor v = checked(values, {samples, channels}, "values");
  const Tensor rays = checked_rays(ray_index, samples, grad.size(0));
  Tensor grad_weights = at::empty({samples}, w.options()), grad_values = at::empty({samples, channels}, v.options());
  nerf_ssim::accumulate_backward(
      g.const_data_ptr<float>(), w.const_data_ptr<float>(), v.const_data_ptr<float>(), rays.const_data_ptr<int64_t>(),
      samples, channels, grad_weights.data_ptr<float>(), grad_values.data_ptr<float>(), at::get_num_threads());
  return {grad_weights, grad_values};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  library.def(
      "composite(Tensor sigma, Tensor delta, Tensor ray_offsets, float distance_scale) -> (Tensor, Tensor, Tensor)");
  library.def(
      "composite_backward(Tensor? grad_weights, Tensor? grad_opacity, Tensor? grad_transmittance, Tensor sigma,"
      " Tensor delta, Tensor ray_offsets, Tensor transmittance, float distance_scale) -> Tensor");
  library.def("accumulate(Tensor weights, Tensor values, Tensor ray_index, SymInt n_rays) -> Tensor");
  library.def("accumulate_backward(Tensor grad, Tensor weights, Tensor values, Tensor ray_index) -> (Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(nerf_ssim, CPU, library) {
  library.impl("composite", &composite);
  library.impl("composite_backward", &composite_backward);
  library.impl("accumulate", &accumulate);
  library.impl("accumulate_backward", &accumulate_backward);
}
