// Torch operators of dense voxel grids.
#include "../include/voxels.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "voxel_arguments.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

Tensor voxel_features(const Tensor& grid, const Tensor& coords) {
  const VoxelShape shape = checked_grid(grid, "grid");
  const Tensor values = grid.contiguous(), points = checked_coords(coords, grid);
  Tensor out = at::empty({points.size(0), shape.channels}, values.options());
  cpu::voxel_features(shape, values.const_data_ptr<float>(), points.const_data_ptr<float>(), points.size(0),
                      out.mutable_data_ptr<float>(), at::get_num_threads());
  return out;
}

void add_voxel_features_gradient(Tensor& gradient, const Tensor& grad, const Tensor& coords,
                                 const std::optional<Tensor>& touched) {
  const VoxelShape shape = checked_grid(gradient, "gradient");
  TORCH_CHECK(gradient.is_contiguous(), "gradient: expected a contiguous tensor");
  const Tensor points = checked_coords(coords, gradient);
  const Tensor upstream = checked(grad, {points.size(0), shape.channels}, "grad", gradient);
  cpu::add_voxel_features_gradient(shape, points.const_data_ptr<float>(), points.size(0),
                                   upstream.const_data_ptr<float>(), gradient.mutable_data_ptr<float>(),
                                   checked_touched(touched, gradient), at::get_num_threads());
}

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  library.def("voxel_features(Tensor grid, Tensor coords) -> Tensor", torch::dispatch(at::kCPU, &voxel_features));
  library.def("add_voxel_features_gradient(Tensor(a!) gradient, Tensor grad, Tensor coords, Tensor(b!)? touched) -> ()",
              torch::dispatch(at::kCPU, &add_voxel_features_gradient));
}

}  // namespace
}  // namespace nerf_ssim
