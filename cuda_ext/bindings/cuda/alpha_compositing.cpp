// Torch operators of compositing voxel densities and of distortion on a GPU. Nothing here waits for the device.
#include "../../cuda/alpha_compositing.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "checked.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

std::tuple<Tensor, Tensor> composite_voxels_cuda(
    const Tensor& density_in, const Tensor& ray_offsets, double shift, double interval, double alpha_threshold,
    double stop) {
  const OnDeviceOf device(density_in);
  const int64_t samples = density_in.numel(), rays = ray_offsets.numel() - 1;
  TORCH_CHECK(rays >= 0, "ray_offsets: expected [rays + 1]");
  const Tensor density = checked(density_in, {samples}, "density", density_in);
  const Tensor offsets = checked_integers(ray_offsets, rays + 1, "ray_offsets", density);
  Tensor weights = at::empty({samples}, density.options()), background = at::empty({rays}, density.options());
  check_launch(
      launch_composite_voxels(
          density.const_data_ptr<float>(), offsets.const_data_ptr<int64_t>(), rays, samples, static_cast<float>(shift),
          static_cast<float>(interval), static_cast<float>(alpha_threshold), static_cast<float>(stop),
          weights.mutable_data_ptr<float>(), background.mutable_data_ptr<float>(), device.stream),
      "composite_voxels");
  return {weights, background};
}

Tensor composite_voxels_backward_cuda(
    const std::optional<Tensor>& grad_weights, const std::optional<Tensor>& grad_background, const Tensor& density_in,
    const Tensor& ray_offsets, double shift, double interval, double alpha_threshold, double stop) {
  const OnDeviceOf device(density_in);
  const int64_t samples = density_in.numel(), rays = ray_offsets.numel() - 1;
  const Tensor density = checked(density_in, {samples}, "density", density_in);
  const Tensor offsets = checked_integers(ray_offsets, rays + 1, "ray_offsets", density);
  const auto upstream = [&](const std::optional<Tensor>& grad, int64_t size) {
    return grad && grad->defined() ? checked(*grad, {size}, "upstream gradient", density) : Tensor();
  };
  const Tensor of_weights = upstream(grad_weights, samples), of_background = upstream(grad_background, rays);
  Tensor grad_density = at::empty({samples}, density.options());
  check_launch(
      launch_composite_voxels_backward(
          density.const_data_ptr<float>(), offsets.const_data_ptr<int64_t>(), rays, samples, static_cast<float>(shift),
          static_cast<float>(interval), static_cast<float>(alpha_threshold), static_cast<float>(stop),
          pointer_or_null(of_weights), pointer_or_null(of_background), grad_density.mutable_data_ptr<float>(),
          device.stream),
      "composite_voxels_backward");
  return grad_density;
}

std::tuple<Tensor, Tensor> distortion_loss_cuda(
    const Tensor& weights, const Tensor& s, const Tensor& ray_index, double interval) {
  const OnDeviceOf device(weights);
  const int64_t samples = weights.numel();
  const Tensor w = checked(weights, {samples}, "weights", weights);
  const Tensor places = checked(s, {samples}, "s", w);
  const Tensor rays = checked_integers(ray_index, samples, "ray_index", w);
  if (samples == 0) return {at::zeros({}, w.options()), at::empty({0}, w.options())};
  Tensor loss = at::empty({}, w.options()), gradient = at::empty({samples}, w.options());
  Tensor scratch = at::empty({distortion_scratch(samples)}, w.options());
  check_launch(
      launch_distortion(
          w.const_data_ptr<float>(), places.const_data_ptr<float>(), rays.const_data_ptr<int64_t>(), samples,
          static_cast<float>(interval), scratch.mutable_data_ptr<float>(), loss.mutable_data_ptr<float>(),
          gradient.mutable_data_ptr<float>(), device.stream),
      "distortion_loss");
  return {loss, gradient};
}

}  // namespace
}  // namespace nerf_ssim

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) {
  library.impl("composite_voxels", &nerf_ssim::composite_voxels_cuda);
  library.impl("composite_voxels_backward", &nerf_ssim::composite_voxels_backward_cuda);
  library.impl("distortion_loss", &nerf_ssim::distortion_loss_cuda);
}
