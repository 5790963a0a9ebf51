// Arguments and gradients of the factorised grids' operators, whatever the device.
#pragma once

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <array>
#include <tuple>

#include "../include/grids.h"
#include "arguments.h"

namespace nerf_ssim {

using ThreeTensors = std::tuple<at::Tensor, at::Tensor, at::Tensor>;
using SixTensors = decltype(std::tuple_cat(std::array<at::Tensor, 6>()));
using SevenTensors = decltype(std::tuple_cat(std::array<at::Tensor, 7>()));

// Three planes and three lines that agree on nodes and channels, contiguous, beside the pointers into them.
struct Vm {
  std::array<at::Tensor, 3> planes, lines;
  at::Tensor coords;
  VmGrid grid;

  Vm(const std::array<at::Tensor, 3>& planes_, const std::array<at::Tensor, 3>& lines_, const at::Tensor& coords_)
      : coords(checked_coords(coords_, coords_)) {
    for (int m = 0; m < 3; ++m) {
      check_rank(planes_[m], 3, "plane");
      check_rank(lines_[m], 2, "line");
      check_nodes(lines_[m].size(0));
      planes[m] = checked(planes_[m], planes_[m].sizes(), "plane", coords);
      lines[m] = checked(lines_[m], lines_[m].sizes(), "line", coords);
      grid.planes[m] = planes[m].const_data_ptr<float>();
      grid.lines[m] = lines[m].const_data_ptr<float>();
      grid.channels[m] = planes[m].size(2);
      grid.nodes[kAxisW[m]] = lines[m].size(0);
    }
    for (int m = 0; m < 3; ++m)
      TORCH_CHECK(lines[m].size(1) == grid.channels[m] && planes[m].size(0) == grid.nodes[kAxisV[m]] &&
                      planes[m].size(1) == grid.nodes[kAxisU[m]],
                  "planes and lines disagree on the nodes of an axis or on the channels");
  }

  int64_t samples() const { return coords.size(0); }
  int64_t width() const { return grid.channels[0] + grid.channels[1] + grid.channels[2]; }
  const float* points() const { return coords.const_data_ptr<float>(); }

  // [outputs, sum of channels].
  at::Tensor checked_basis(const at::Tensor& basis) const {
    TORCH_CHECK(basis.dim() == 2, "basis: expected [outputs, ", width(), "], not ", basis.sizes());
    return checked(basis, {basis.size(0), width()}, "basis", coords);
  }
};

// Three lines of one number of channels.
struct Cp {
  std::array<at::Tensor, 3> lines;
  at::Tensor coords;
  CpGrid grid;

  Cp(const std::array<at::Tensor, 3>& lines_, const at::Tensor& coords_) : coords(checked_coords(coords_, coords_)) {
    for (int axis = 0; axis < 3; ++axis) {
      check_rank(lines_[axis], 2, "line");
      check_nodes(lines_[axis].size(0));
      TORCH_CHECK(lines_[axis].size(1) == lines_[0].size(1), "lines: expected one number of channels");
      lines[axis] = checked(lines_[axis], lines_[axis].sizes(), "line", coords);
      grid.lines[axis] = lines[axis].const_data_ptr<float>();
      grid.nodes[axis] = lines[axis].size(0);
    }
    grid.channels = lines[0].size(1);
  }

  int64_t samples() const { return coords.size(0); }
  int64_t width() const { return grid.channels; }
  const float* points() const { return coords.const_data_ptr<float>(); }
};

// What density or features are written to, and the checked gradient of that.
template <class Grid>
at::Tensor grid_output(const Grid& grid, bool is_features) {
  return is_features ? at::empty({grid.samples(), grid.width()}, grid.coords.options())
                     : at::empty({grid.samples()}, grid.coords.options());
}

template <class Grid>
at::Tensor checked_grad(const at::Tensor& grad, const Grid& grid, bool is_features) {
  return is_features ? checked(grad, {grid.samples(), grid.width()}, "grad", grid.coords)
                     : checked(grad, {grid.samples()}, "grad", grid.coords);
}

// Zeros in the shape of each part. On a GPU they share one piece of memory, so that one launch clears them all.
template <size_t kParts>
std::array<at::Tensor, kParts> zeros_like_each(const std::array<at::Tensor, kParts>& parts) {
  constexpr int64_t kAlign = 64;  // floats: each begins as a tensor of its own would
  std::array<at::Tensor, kParts> zeros;
  if (parts[0].is_cpu()) {
    for (size_t i = 0; i < kParts; ++i) zeros[i] = at::zeros_like(parts[i]);
    return zeros;
  }
  int64_t size = 0;
  for (const at::Tensor& part : parts) size += (part.numel() + kAlign - 1) / kAlign * kAlign;
  const at::Tensor all = at::zeros({size}, parts[0].options());
  int64_t first = 0;
  for (size_t i = 0; i < kParts; ++i) {
    zeros[i] = all.narrow(0, first, parts[i].numel()).view(parts[i].sizes());
    first += (parts[i].numel() + kAlign - 1) / kAlign * kAlign;
  }
  return zeros;
}

// Zeroed gradients of planes and lines, and the pointers into them.
struct VmGradients {
  std::array<at::Tensor, 6> tensors;
  VmGradient pointers;

  explicit VmGradients(const Vm& vm)
      : tensors(zeros_like_each<6>({vm.planes[0], vm.planes[1], vm.planes[2], vm.lines[0], vm.lines[1], vm.lines[2]})) {
    for (int m = 0; m < 3; ++m) {
      pointers.planes[m] = tensors[m].mutable_data_ptr<float>();
      pointers.lines[m] = tensors[3 + m].mutable_data_ptr<float>();
    }
  }
};

struct CpGradients {
  std::array<at::Tensor, 3> tensors;
  CpGradient pointers;

  explicit CpGradients(const Cp& cp) : tensors(zeros_like_each(cp.lines)) {
    for (int axis = 0; axis < 3; ++axis) {
      pointers.lines[axis] = tensors[axis].mutable_data_ptr<float>();
    }
  }
};

}  // namespace nerf_ssim
