// Arguments that the operators of voxel grids share, whatever the device.
#pragma once

#include <array>

#include "../include/voxel_adam.h"
#include "arguments.h"

namespace nerf_ssim {

// The shape of a float32 grid [X, Y, Z, C].
inline VoxelShape checked_grid(const at::Tensor& grid, const char* name) {
  check_rank(grid, 4, name);
  for (int axis = 0; axis < 3; ++axis) check_nodes(grid.size(axis));
  return {{grid.size(0), grid.size(1), grid.size(2)}, grid.size(3)};
}

// Pointer to `touched`, the runs of `grid` [X, Y, Z, C] that have a gradient, or null where nobody keeps account.
inline uint8_t* checked_touched(const std::optional<at::Tensor>& touched, const at::Tensor& grid) {
  if (!touched) return nullptr;
  TORCH_CHECK(grid.dim() == 4, "touched: the grid must be [X, Y, Z, C], not ", grid.sizes());
  const std::array<int64_t, 3> expected{grid.size(0), grid.size(1), runs_of(grid.size(2) * grid.size(3))};
  TORCH_CHECK(
      touched->scalar_type() == at::kByte && touched->is_contiguous() && touched->sizes() == at::IntArrayRef(expected),
      "touched: expected contiguous uint8 ", at::IntArrayRef(expected), ", not ", touched->scalar_type(), " ",
      touched->sizes());
  check_device(*touched, "touched", grid);
  return touched->mutable_data_ptr<uint8_t>();
}

// Of a grid whose runs a GPU counts in 32 bits.
inline void check_runs(int64_t floats) {
  TORCH_CHECK(runs_of(floats) <= UINT32_MAX / 2, "param: expected fewer than 2^37 elements, not ", floats);
}

// The tensors of one update and total variation before it, which `tv_weights` ask for.
struct VoxelUpdate {
  VoxelState state;
  VoxelShape shape;  // of a line where nothing needs the grid's
  std::optional<VoxelTv> tv;

  VoxelUpdate(const at::Tensor& param, const at::Tensor& grad, const at::Tensor& exp_avg, const at::Tensor& exp_avg_sq,
              const std::optional<at::ArrayRef<double>>& tv_weights, bool tv_dense,
              const std::optional<at::Tensor>& rates, uint8_t* touched)
      : shape{{1, param.numel(), 1}, 1} {
    check_updated(param, "param", param);
    check_updated(grad, "grad", param);
    check_updated(exp_avg, "exp_avg", param);
    check_updated(exp_avg_sq, "exp_avg_sq", param);
    if (rates) check_updated(*rates, "rates", param);
    state = {param.mutable_data_ptr<float>(),
             grad.mutable_data_ptr<float>(),
             exp_avg.mutable_data_ptr<float>(),
             exp_avg_sq.mutable_data_ptr<float>(),
             rates ? rates->const_data_ptr<float>() : nullptr,
             touched};
    if (tv_weights) {
      const auto& w = *tv_weights;
      TORCH_CHECK(w.size() == 3, "weights: expected three, not ", w.size());
      tv = VoxelTv{{static_cast<float>(w[0]), static_cast<float>(w[1]), static_cast<float>(w[2])}, tv_dense};
    }
    if (!tv && !touched) return;
    TORCH_CHECK(param.dim() == 4, "param: expected [X, Y, Z, C], not ", param.sizes());
    shape = {{param.size(0), param.size(1), param.size(2)}, param.size(3)};
  }
};

}  // namespace nerf_ssim
