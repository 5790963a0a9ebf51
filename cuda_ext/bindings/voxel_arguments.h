// What the bindings of voxel grids check alike.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <optional>

#include "../cpu/voxels.h"

namespace nerf_ssim {

// Pointer to `touched`, the runs of `grid` [X, Y, Z, C] that have a gradient, or null where nobody keeps account.
inline uint8_t* checked_touched(const std::optional<at::Tensor>& touched, const at::Tensor& grid) {
  if (!touched) return nullptr;
  TORCH_CHECK(grid.dim() == 4, "touched: the grid must be [X, Y, Z, C], not ", grid.sizes());
  const std::array<int64_t, 3> expected{grid.size(0), grid.size(1), runs_of(grid.size(2) * grid.size(3))};
  TORCH_CHECK(
      touched->scalar_type() == at::kByte && touched->device().is_cpu() && touched->is_contiguous() &&
          touched->sizes() == at::IntArrayRef(expected),
      "touched: expected contiguous uint8 ", at::IntArrayRef(expected), " on the CPU, not ", touched->scalar_type(), " ",
      touched->sizes());
  return touched->mutable_data_ptr<uint8_t>();
}

}  // namespace nerf_ssim
