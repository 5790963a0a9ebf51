// Torch operators over cuda_ext/cpu/voxels.h.
#include "../cpu/voxels.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <optional>

#include "voxel_arguments.h"

namespace {

using at::Tensor;

nerf_ssim::VoxelShape checked_shape(const Tensor& grid, const char* name) {
  TORCH_CHECK(
      grid.scalar_type() == at::kFloat && grid.dim() == 4, name, ": expected float32 [X, Y, Z, C], not ",
      grid.scalar_type(), " ", grid.sizes());
  for (int axis = 0; axis < 3; ++axis)
    TORCH_CHECK(grid.size(axis) > 0 && grid.size(axis) < (1 << 24), name, ": an axis needs 1 to 2^24 nodes");
  return {{grid.size(0), grid.size(1), grid.size(2)}, grid.size(3)};
}

Tensor checked_coords(const Tensor& coords) {
  TORCH_CHECK(
      coords.scalar_type() == at::kFloat && coords.dim() == 2 && coords.size(1) == 3,
      "coords: expected float32 [samples, 3], not ", coords.scalar_type(), " ", coords.sizes());
  return coords.contiguous();
}

Tensor voxel_features(const Tensor& grid, const Tensor& coords) {
  const nerf_ssim::VoxelShape shape = checked_shape(grid, "grid");
  const Tensor values = grid.contiguous(), points = checked_coords(coords);
  Tensor out = at::empty({points.size(0), shape.channels}, values.options());
  nerf_ssim::voxel_features(
      shape, values.const_data_ptr<float>(), points.const_data_ptr<float>(), points.size(0), out.data_ptr<float>(),
      at::get_num_threads());
  return out;
}

void add_voxel_features_gradient(
    Tensor& gradient, const Tensor& grad, const Tensor& coords, const std::optional<Tensor>& touched) {
  const nerf_ssim::VoxelShape shape = checked_shape(gradient, "gradient");
  TORCH_CHECK(gradient.is_contiguous(), "gradient: expected a contiguous tensor");
  const Tensor points = checked_coords(coords);
  TORCH_CHECK(
      grad.scalar_type() == at::kFloat && grad.dim() == 2 && grad.size(0) == points.size(0) &&
          grad.size(1) == shape.channels,
      "grad: expected float32 [samples, C], not ", grad.scalar_type(), " ", grad.sizes());
  const Tensor upstream = grad.contiguous();
  nerf_ssim::add_voxel_features_gradient(
      shape, points.const_data_ptr<float>(), points.size(0), upstream.const_data_ptr<float>(),
      gradient.mutable_data_ptr<float>(), nerf_ssim::checked_touched(touched, gradient),
      at::get_num_threads());
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  library.def("voxel_features(Tensor grid, Tensor coords) -> Tensor");
  library.def("add_voxel_features_gradient(Tensor(a!) gradient, Tensor grad, Tensor coords, Tensor(b!)? touched) -> ()");
}

TORCH_LIBRARY_IMPL(nerf_ssim, CPU, library) {
  library.impl("voxel_features", &voxel_features);
  library.impl("add_voxel_features_gradient", &add_voxel_features_gradient);
}
