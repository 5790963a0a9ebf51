// Torch operators of compositing voxel densities and of distortion on a GPU. Nothing here waits for the device.
#include "../../include/alpha_compositing.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <tuple>

#include "../arguments.h"
#include "device.h"

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
        offsets(checked_offsets(offsets_, density_)),
        rays{density.const_data_ptr<float>(),
             offsets.const_data_ptr<int64_t>(),
             offsets.numel() - 1,
             density.numel(),
             static_cast<float>(shift),
             static_cast<float>(interval),
             static_cast<float>(threshold),
             static_cast<float>(stop)} {}
};

std::tuple<Tensor, Tensor> composite_voxels_cuda(const Tensor& density, const Tensor& ray_offsets, double shift,
                                                 double interval, double alpha_threshold, double stop) {
  const OnDeviceOf device(density);
  const DensitySamples samples(density, ray_offsets, shift, interval, alpha_threshold, stop);
  Tensor weights = at::empty({samples.rays.samples}, density.options());
  Tensor background = at::empty({samples.rays.rays}, density.options());
  check_launch(launch_composite_voxels(samples.rays, weights.mutable_data_ptr<float>(),
                                       background.mutable_data_ptr<float>(), device.stream),
               "composite_voxels");
  return {weights, background};
}

Tensor composite_voxels_backward_cuda(const std::optional<Tensor>& grad_weights,
                                      const std::optional<Tensor>& grad_background, const Tensor& density,
                                      const Tensor& ray_offsets, double shift, double interval, double alpha_threshold,
                                      double stop) {
  const OnDeviceOf device(density);
  const DensitySamples samples(density, ray_offsets, shift, interval, alpha_threshold, stop);
  const Tensor of_weights = checked_upstream(grad_weights, {samples.rays.samples}, density);
  const Tensor of_background = checked_upstream(grad_background, {samples.rays.rays}, density);
  Tensor grad_density = at::empty({samples.rays.samples}, density.options());
  check_launch(
      launch_composite_voxels_backward(samples.rays, pointer_or_null(of_weights), pointer_or_null(of_background),
                                       grad_density.mutable_data_ptr<float>(), device.stream),
      "composite_voxels_backward");
  return grad_density;
}

std::tuple<Tensor, Tensor> distortion_loss_cuda(const Tensor& weights, const Tensor& s, const Tensor& ray_index,
                                                double interval) {
  const OnDeviceOf device(weights);
  const int64_t samples = weights.numel();
  const Tensor w = checked(weights, {samples}, "weights", weights), places = checked(s, {samples}, "s", weights);
  const Tensor rays = checked_integers(ray_index, samples, "ray_index", weights);
  if (samples == 0) return {at::zeros({}, w.options()), at::empty({0}, w.options())};
  Tensor loss = at::empty({}, w.options()), gradient = at::empty({samples}, w.options());
  Tensor scratch = at::empty({distortion_scratch(samples)}, w.options());
  const PackedWeights packed{w.const_data_ptr<float>(), places.const_data_ptr<float>(), rays.const_data_ptr<int64_t>(),
                             samples, static_cast<float>(interval)};
  check_launch(launch_distortion(packed, scratch.mutable_data_ptr<float>(), loss.mutable_data_ptr<float>(),
                                 gradient.mutable_data_ptr<float>(), device.stream),
               "distortion_loss");
  return {loss, gradient};
}

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) {
  library.impl("composite_voxels", &composite_voxels_cuda);
  library.impl("composite_voxels_backward", &composite_voxels_backward_cuda);
  library.impl("distortion_loss", &distortion_loss_cuda);
}

}  // namespace
}  // namespace nerf_ssim
