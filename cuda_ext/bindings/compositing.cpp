// Torch operators of volume compositing, and of weighted sums over rays.
#include "../include/compositing.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <tuple>

#include "arguments.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

// Contiguous tensors beside the pointers into them.
struct VolumeSamples {
  Tensor sigma, delta, offsets;
  RaySamples rays;

  VolumeSamples(const Tensor& sigma_, const Tensor& delta_, const Tensor& offsets_, double distance_scale)
      : sigma(checked(sigma_, {sigma_.numel()}, "sigma", sigma_)),
        delta(checked(delta_, {sigma_.numel()}, "delta", sigma_)),
        offsets(checked_offsets(offsets_, sigma_)),
        rays{sigma.const_data_ptr<float>(),
             delta.const_data_ptr<float>(),
             offsets.const_data_ptr<int64_t>(),
             offsets.numel() - 1,
             sigma.numel(),
             static_cast<float>(distance_scale)} {
    check_ascending(offsets, sigma.numel());
  }
};

std::tuple<Tensor, Tensor, Tensor> composite(const Tensor& sigma, const Tensor& delta, const Tensor& ray_offsets,
                                             double distance_scale) {
  const VolumeSamples samples(sigma, delta, ray_offsets, distance_scale);
  Tensor weights = at::empty(sigma.sizes(), sigma.options()), light = at::empty(sigma.sizes(), sigma.options());
  Tensor opacity = at::empty({samples.rays.rays}, sigma.options());
  cpu::composite(samples.rays, weights.mutable_data_ptr<float>(), opacity.mutable_data_ptr<float>(),
                 light.mutable_data_ptr<float>(), at::get_num_threads());
  return {weights, opacity, light};
}

Tensor composite_backward(const std::optional<Tensor>& grad_weights, const std::optional<Tensor>& grad_opacity,
                          const std::optional<Tensor>& grad_transmittance, const Tensor& sigma, const Tensor& delta,
                          const Tensor& ray_offsets, const Tensor& transmittance, double distance_scale) {
  const VolumeSamples samples(sigma, delta, ray_offsets, distance_scale);
  const int64_t n = sigma.numel();
  const Tensor of_weights = checked_upstream(grad_weights, {n}, sigma);
  const Tensor of_opacity = checked_upstream(grad_opacity, {samples.rays.rays}, sigma);
  const Tensor of_light = checked_upstream(grad_transmittance, {n}, sigma);
  const Tensor light = checked(transmittance, {n}, "transmittance", sigma);
  Tensor grad_sigma = at::empty(sigma.sizes(), sigma.options());
  cpu::composite_backward(samples.rays, light.const_data_ptr<float>(), pointer_or_null(of_weights),
                          pointer_or_null(of_opacity), pointer_or_null(of_light), grad_sigma.mutable_data_ptr<float>(),
                          at::get_num_threads());
  return grad_sigma;
}

// Contiguous tensors beside the pointers into them.
struct WeightedValues {
  Tensor weights, values, ray_index;
  RaySums sums;

  WeightedValues(const Tensor& weights_, const Tensor& values_, const Tensor& ray_index_, int64_t rays)
      : weights(checked(weights_, {weights_.numel()}, "weights", weights_)),
        values(checked(values_, {weights_.numel(), values_.size(1)}, "values", weights_)),
        ray_index(checked_integers(ray_index_, weights_.numel(), "ray_index", weights_)),
        sums{weights.const_data_ptr<float>(),
             values.const_data_ptr<float>(),
             ray_index.const_data_ptr<int64_t>(),
             weights.numel(),
             values.size(1),
             rays} {
    TORCH_CHECK(
        std::all_of(sums.ray_index, sums.ray_index + sums.samples, [=](int64_t ray) { return ray >= 0 && ray < rays; }),
        "ray_index: an entry is outside [0, ", rays, ")");
  }
};

Tensor accumulate(const Tensor& weights, const Tensor& values, const Tensor& ray_index, int64_t n_rays) {
  const WeightedValues weighted(weights, values, ray_index, n_rays);
  Tensor out = at::zeros({n_rays, weighted.sums.channels}, values.options());
  cpu::accumulate(weighted.sums, out.mutable_data_ptr<float>(), at::get_num_threads());
  return out;
}

std::tuple<Tensor, Tensor> accumulate_backward(const Tensor& grad, const Tensor& weights, const Tensor& values,
                                               const Tensor& ray_index) {
  const WeightedValues weighted(weights, values, ray_index, grad.size(0));
  const Tensor upstream = checked(grad, {grad.size(0), weighted.sums.channels}, "grad", weights);
  Tensor grad_weights = at::empty(weights.sizes(), weights.options());
  Tensor grad_values = at::empty(values.sizes(), values.options());
  cpu::accumulate_backward(weighted.sums, upstream.const_data_ptr<float>(), grad_weights.mutable_data_ptr<float>(),
                           grad_values.mutable_data_ptr<float>(), at::get_num_threads());
  return {grad_weights, grad_values};
}

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  library.def(
      "composite(Tensor sigma, Tensor delta, Tensor ray_offsets, float distance_scale) -> (Tensor, Tensor, Tensor)",
      torch::dispatch(at::kCPU, &composite));
  library.def(
      "composite_backward(Tensor? grad_weights, Tensor? grad_opacity, Tensor? grad_transmittance, Tensor sigma,"
      " Tensor delta, Tensor ray_offsets, Tensor transmittance, float distance_scale) -> Tensor",
      torch::dispatch(at::kCPU, &composite_backward));
  library.def("accumulate(Tensor weights, Tensor values, Tensor ray_index, SymInt n_rays) -> Tensor",
              torch::dispatch(at::kCPU, &accumulate));
  library.def("accumulate_backward(Tensor grad, Tensor weights, Tensor values, Tensor ray_index) -> (Tensor, Tensor)",
              torch::dispatch(at::kCPU, &accumulate_backward));
}

}  // namespace
}  // namespace nerf_ssim
