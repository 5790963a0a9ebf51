// Torch operators of dense voxel grids on a GPU. Nothing here waits for the device.
#include "../../cuda/voxels.h"

#include <ATen/Context.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/sort.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "checked.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

void check_grid(const Tensor& grid, const char* name) {
  check_cuda(grid, name, at::kFloat, grid);
  TORCH_CHECK(grid.dim() == 4, name, ": expected [X, Y, Z, C], not ", grid.sizes());
  for (int axis = 0; axis < 3; ++axis)
    TORCH_CHECK(grid.size(axis) > 0 && grid.size(axis) < (1 << 24), name, ": an axis needs 1 to 2^24 nodes");
}

Tensor checked_coords(const Tensor& coords, const Tensor& like) {
  TORCH_CHECK(coords.dim() == 2, "coords: expected [samples, 3], not ", coords.sizes());
  return checked(coords, {coords.size(0), 3}, "coords", like);
}

Tensor voxel_features_cuda(const Tensor& grid, const Tensor& coords) {
  const OnDeviceOf device(grid);
  check_grid(grid, "grid");
  const Tensor values = grid.contiguous(), points = checked_coords(coords, grid);
  Tensor out = at::empty({points.size(0), grid.size(3)}, values.options());
  check_launch(
      launch_voxel_features(
          values.const_data_ptr<float>(), grid.size(0), grid.size(1), grid.size(2), grid.size(3),
          points.const_data_ptr<float>(), points.size(0), out.mutable_data_ptr<float>(), device.stream),
      "voxel_features");
  return out;
}

// In a fixed order: samples sorted by cell, then gathered by the nodes.
void gather_gradient(const Tensor& gradient, const Tensor& upstream, const Tensor& points, cudaStream_t stream) {
  const int64_t x = gradient.size(0), y = gradient.size(1), z = gradient.size(2);
  const auto integers = points.options().dtype(at::kLong);
  Tensor cells = at::empty({points.size(0)}, integers);
  check_launch(
      launch_voxel_cells(
          x, y, z, points.const_data_ptr<float>(), points.size(0), cells.mutable_data_ptr<int64_t>(), stream),
      "voxel_cells");
  const auto [sorted, order] = at::sort(cells, /*stable=*/true, /*dim=*/0, /*descending=*/false);
  const Tensor starts = at::searchsorted(sorted, at::arange((x + 2) * (y + 2) * (z + 2) + 1, integers));
  check_launch(
      launch_gather_voxel_gradient(
          x, y, z, gradient.size(3), points.const_data_ptr<float>(), upstream.const_data_ptr<float>(),
          order.const_data_ptr<int64_t>(), starts.const_data_ptr<int64_t>(), gradient.mutable_data_ptr<float>(),
          stream),
      "add_voxel_features_gradient");
}

void add_voxel_features_gradient_cuda(
    Tensor& gradient, const Tensor& grad, const Tensor& coords,
    const std::optional<Tensor>& /* touched: nobody reads it here */) {
  const OnDeviceOf device(gradient);
  check_grid(gradient, "gradient");
  TORCH_CHECK(gradient.is_contiguous(), "gradient: expected a contiguous tensor");
  const Tensor points = checked_coords(coords, gradient);
  const Tensor upstream = checked(grad, {points.size(0), gradient.size(3)}, "grad", gradient);
  if (at::globalContext().deterministicAlgorithms())
    return gather_gradient(gradient, upstream, points, device.stream);
  check_launch(
      launch_add_voxel_gradient(
          gradient.size(0), gradient.size(1), gradient.size(2), gradient.size(3), points.const_data_ptr<float>(),
          points.size(0), upstream.const_data_ptr<float>(), gradient.mutable_data_ptr<float>(), device.stream),
      "add_voxel_features_gradient");
}

}  // namespace
}  // namespace nerf_ssim

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) {
  library.impl("voxel_features", &nerf_ssim::voxel_features_cuda);
  library.impl("add_voxel_features_gradient", &nerf_ssim::add_voxel_features_gradient_cuda);
}
