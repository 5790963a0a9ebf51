// Torch operators of dense voxel grids on a GPU. Nothing here waits for the device.
#include "../../include/voxels.h"

#include <ATen/Context.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/sort.h>
#include <torch/library.h>

#include "../voxel_arguments.h"
#include "device.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

Tensor voxel_features_cuda(const Tensor& grid, const Tensor& coords) {
  const OnDeviceOf device(grid);
  const VoxelShape shape = checked_grid(grid, "grid");
  const Tensor values = grid.contiguous(), points = checked_coords(coords, grid);
  Tensor out = at::empty({points.size(0), shape.channels}, values.options());
  check_launch(launch_voxel_features(shape, values.const_data_ptr<float>(), points.const_data_ptr<float>(),
                                     points.size(0), out.mutable_data_ptr<float>(), device.stream),
               "voxel_features");
  return out;
}

// In a fixed order: samples sorted by cell, then gathered by the nodes.
void gather_gradient(const VoxelShape& shape, const Tensor& gradient, const Tensor& upstream, const Tensor& points,
                     uint8_t* touched, cudaStream_t stream) {
  const auto integers = points.options().dtype(at::kLong);
  Tensor cells = at::empty({points.size(0)}, integers);
  check_launch(launch_voxel_cells(shape, points.const_data_ptr<float>(), points.size(0),
                                  cells.mutable_data_ptr<int64_t>(), stream),
               "voxel_cells");
  const auto [sorted, order] = at::sort(cells, /*stable=*/true, /*dim=*/0, /*descending=*/false);
  const int64_t count = (shape.nodes[0] + 2) * (shape.nodes[1] + 2) * (shape.nodes[2] + 2);
  const Tensor starts = at::searchsorted(sorted, at::arange(count + 1, integers));
  check_launch(launch_gather_voxel_gradient(shape, points.const_data_ptr<float>(), upstream.const_data_ptr<float>(),
                                            order.const_data_ptr<int64_t>(), starts.const_data_ptr<int64_t>(),
                                            gradient.mutable_data_ptr<float>(), touched, stream),
               "add_voxel_features_gradient");
}

void add_voxel_features_gradient_cuda(Tensor& gradient, const Tensor& grad, const Tensor& coords,
                                      const std::optional<Tensor>& touched) {
  const OnDeviceOf device(gradient);
  const VoxelShape shape = checked_grid(gradient, "gradient");
  TORCH_CHECK(gradient.is_contiguous(), "gradient: expected a contiguous tensor");
  const Tensor points = checked_coords(coords, gradient);
  const Tensor upstream = checked(grad, {points.size(0), shape.channels}, "grad", gradient);
  uint8_t* const flags = checked_touched(touched, gradient);
  if (at::globalContext().deterministicAlgorithms())
    return gather_gradient(shape, gradient, upstream, points, flags, device.stream);
  check_launch(
      launch_add_voxel_gradient(shape, points.const_data_ptr<float>(), points.size(0), upstream.const_data_ptr<float>(),
                                gradient.mutable_data_ptr<float>(), flags, device.stream),
      "add_voxel_features_gradient");
}

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) {
  library.impl("voxel_features", &voxel_features_cuda);
  library.impl("add_voxel_features_gradient", &add_voxel_features_gradient_cuda);
}

}  // namespace
}  // namespace nerf_ssim
