// Torch operators over cuda_ext/cpu/alpha_compositing.h.
#include "../cpu/alpha_compositing.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <optional>
#include <tuple>

namespace {

using at::Tensor;

Tensor checked(const Tensor& tensor, int64_t size, const char* name) {
  TORCH_CHECK(
      tensor.scalar_type() == at::kFloat && tensor.dim() == 1 && tensor.numel() == size, name, ": expected float32 [",
      size, "], not ", tensor.scalar_type(), " ", tensor.sizes());
  return tensor.contiguous();
}

// Contiguous tensors beside the pointers into them. Offsets that would lead out of the arrays are refused.
struct Samples {
  Tensor density, offsets;
  nerf_ssim::VoxelRays rays;

  Samples(
      const Tensor& density_, const Tensor& offsets_, double shift, double interval, double threshold, double stop)
      : density(checked(density_, density_.numel(), "density")), offsets(offsets_.contiguous()) {
    TORCH_CHECK(
        offsets.scalar_type() == at::kLong && offsets.dim() == 1 && offsets.numel() > 0,
        "ray_offsets: expected int64 [rays + 1]");
    const int64_t* first = offsets.const_data_ptr<int64_t>();
    const int64_t n = offsets.numel();
    TORCH_CHECK(
        first[0] == 0 && first[n - 1] == density.numel() && std::is_sorted(first, first + n),
        "ray_offsets: must ascend from 0 to the number of samples");
    rays = {density.const_data_ptr<float>(), first, n - 1, static_cast<float>(shift), static_cast<float>(interval),
            static_cast<float>(threshold), static_cast<float>(stop)};
  }
};

std::tuple<Tensor, Tensor> composite_voxels(
    const Tensor& density, const Tensor& ray_offsets, double shift, double interval, double alpha_threshold,
    double stop) {
  const Samples samples(density, ray_offsets, shift, interval, alpha_threshold, stop);
  Tensor weights = at::empty(density.sizes(), density.options());
  Tensor background = at::empty({samples.rays.rays}, density.options());
  nerf_ssim::composite_voxels(
      samples.rays, weights.data_ptr<float>(), background.data_ptr<float>(), at::get_num_threads());
  return {weights, background};
}

Tensor composite_voxels_backward(
    const std::optional<Tensor>& grad_weights, const std::optional<Tensor>& grad_background, const Tensor& density,
    const Tensor& ray_offsets, double shift, double interval, double alpha_threshold, double stop) {
  const Samples samples(density, ray_offsets, shift, interval, alpha_threshold, stop);
  const auto upstream = [](const std::optional<Tensor>& grad, int64_t size) {
    return grad && grad->defined() ? checked(*grad, size, "upstream gradient") : Tensor();
  };
  const auto pointer = [](const Tensor& grad) { return grad.defined() ? grad.const_data_ptr<float>() : nullptr; };
  const Tensor of_weights = upstream(grad_weights, density.numel());
  const Tensor of_background = upstream(grad_background, samples.rays.rays);
  Tensor grad_density = at::empty(density.sizes(), density.options());
  nerf_ssim::composite_voxels_backward(
      samples.rays, pointer(of_weights), pointer(of_background), grad_density.data_ptr<float>(), at::get_num_threads());
  return grad_density;
}

std::tuple<Tensor, Tensor> distortion_loss(
    const Tensor& weights, const Tensor& s, const Tensor& ray_index, double interval) {
  const int64_t samples = weights.numel();
  const Tensor w = checked(weights, samples, "weights"), places = checked(s, samples, "s");
  TORCH_CHECK(
      ray_index.scalar_type() == at::kLong && ray_index.dim() == 1 && ray_index.numel() == samples,
      "ray_index: expected int64 [samples]");
  const Tensor rays = ray_index.contiguous();
  const int64_t* first = rays.const_data_ptr<int64_t>();
  TORCH_CHECK(std::is_sorted(first, first + samples), "ray_index: must ascend");
  Tensor loss = at::empty({}, w.options()), gradient = at::empty({samples}, w.options());
  const double total = nerf_ssim::distortion(
      w.const_data_ptr<float>(), places.const_data_ptr<float>(), first, samples, static_cast<float>(interval),
      gradient.data_ptr<float>(), at::get_num_threads());
  const double n_rays = samples > 0 ? static_cast<double>(first[samples - 1] + 1) : 1.0;
  *loss.data_ptr<float>() = static_cast<float>(total / n_rays);
  gradient.mul_(1.0 / n_rays);
  return {loss, gradient};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  library.def(
      "composite_voxels(Tensor density, Tensor ray_offsets, float shift, float interval, float alpha_threshold,"
      " float stop) -> (Tensor, Tensor)");
  library.def(
      "composite_voxels_backward(Tensor? grad_weights, Tensor? grad_background, Tensor density, Tensor ray_offsets,"
      " float shift, float interval, float alpha_threshold, float stop) -> Tensor");
  library.def("distortion_loss(Tensor weights, Tensor s, Tensor ray_index, float interval) -> (Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(nerf_ssim, CPU, library) {
  library.impl("composite_voxels", &composite_voxels);
  library.impl("composite_voxels_backward", &composite_voxels_backward);
  library.impl("distortion_loss", &distortion_loss);
}
