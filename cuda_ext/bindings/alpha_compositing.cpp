// Torch operators of compositing voxel densities and of distortion.
#include "../include/alpha_compositing.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <tuple>

#include "arguments.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

// Contiguous tensors beside the pointers into them.
struct DensitySamples {
  Tensor density, offsets;
  VoxelRays rays;

  DensitySamples(const Tensor& density_, const Tensor& offsets_, double shift, double interval, double threshold,
                 double stop)
      : density(checked(density_, {density_.numel()}, "density", density_)),
        offsets(checked_offsets(offsets_, density_)) {
    check_ascending(offsets, density.numel());
    rays = {density.const_data_ptr<float>(),
            offsets.const_data_ptr<int64_t>(),
            offsets.numel() - 1,
            density.numel(),
            static_cast<float>(shift),
            static_cast<float>(interval),
            static_cast<float>(threshold),
            static_cast<float>(stop)};
  }
};

std::tuple<Tensor, Tensor> composite_voxels(const Tensor& density, const Tensor& ray_offsets, double shift,
                                            double interval, double alpha_threshold, double stop) {
  const DensitySamples samples(density, ray_offsets, shift, interval, alpha_threshold, stop);
  Tensor weights = at::empty(density.sizes(), density.options());
  Tensor background = at::empty({samples.rays.rays}, density.options());
  cpu::composite_voxels(samples.rays, weights.mutable_data_ptr<float>(), background.mutable_data_ptr<float>(),
                        at::get_num_threads());
  return {weights, background};
}

Tensor composite_voxels_backward(const std::optional<Tensor>& grad_weights,
                                 const std::optional<Tensor>& grad_background, const Tensor& density,
                                 const Tensor& ray_offsets, double shift, double interval, double alpha_threshold,
                                 double stop) {
  const DensitySamples samples(density, ray_offsets, shift, interval, alpha_threshold, stop);
  const Tensor of_weights = checked_upstream(grad_weights, {samples.rays.samples}, density);
  const Tensor of_background = checked_upstream(grad_background, {samples.rays.rays}, density);
  Tensor grad_density = at::empty(density.sizes(), density.options());
  cpu::composite_voxels_backward(samples.rays, pointer_or_null(of_weights), pointer_or_null(of_background),
                                 grad_density.mutable_data_ptr<float>(), at::get_num_threads());
  return grad_density;
}

std::tuple<Tensor, Tensor> distortion_loss(const Tensor& weights, const Tensor& s, const Tensor& ray_index,
                                           double interval) {
  const int64_t samples = weights.numel();
  const Tensor w = checked(weights, {samples}, "weights", weights), places = checked(s, {samples}, "s", weights);
  const Tensor rays = checked_integers(ray_index, samples, "ray_index", weights);
  const int64_t* first = rays.const_data_ptr<int64_t>();
  TORCH_CHECK(std::is_sorted(first, first + samples) && (samples == 0 || first[0] >= 0),
              "ray_index: must ascend from 0 on");
  Tensor loss = at::empty({}, w.options()), gradient = at::empty({samples}, w.options());
  const double total = cpu::distortion(
      {w.const_data_ptr<float>(), places.const_data_ptr<float>(), first, samples, static_cast<float>(interval)},
      gradient.mutable_data_ptr<float>(), at::get_num_threads());
  const double n_rays = samples > 0 ? static_cast<double>(first[samples - 1]) + 1.0 : 1.0;
  *loss.mutable_data_ptr<float>() = static_cast<float>(total / n_rays);
  gradient.mul_(1.0 / n_rays);
  return {loss, gradient};
}

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  library.def(
      "composite_voxels(Tensor density, Tensor ray_offsets, float shift, float interval, float alpha_threshold,"
      " float stop) -> (Tensor, Tensor)",
      torch::dispatch(at::kCPU, &composite_voxels));
  library.def(
      "composite_voxels_backward(Tensor? grad_weights, Tensor? grad_background, Tensor density, Tensor ray_offsets,"
      " float shift, float interval, float alpha_threshold, float stop) -> Tensor",
      torch::dispatch(at::kCPU, &composite_voxels_backward));
  library.def("distortion_loss(Tensor weights, Tensor s, Tensor ray_index, float interval) -> (Tensor, Tensor)",
              torch::dispatch(at::kCPU, &distortion_loss));
}

}  // namespace
}  // namespace nerf_ssim
