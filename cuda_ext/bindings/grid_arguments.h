// Shapes that the operators of the factorised grids accept, whatever the device.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <limits>

#include "../include/grid.h"

namespace nerf_ssim {

inline void check_rank(const at::Tensor& tensor, int64_t dimensions, const char* name) {
  TORCH_CHECK(
      tensor.scalar_type() == at::kFloat && tensor.dim() == dimensions, name, ": expected float32 of ", dimensions,
      " dimensions, not ", tensor.scalar_type(), " of ", tensor.dim());
}

inline void check_coords(const at::Tensor& coords) {
  check_rank(coords, 2, "coords");
  TORCH_CHECK(coords.size(1) == 3, "coords: expected [samples, 3]");
}

inline void check_nodes(int64_t nodes) {
  TORCH_CHECK(nodes > 0 && nodes < (1 << 24), "an axis needs 1 to 2^24 nodes");
}

// Three planes and three lines that agree on nodes and channels.
inline void check_vm(const std::array<at::Tensor, 3>& planes, const std::array<at::Tensor, 3>& lines) {
  int64_t nodes[3];
  for (int m = 0; m < 3; ++m) {
    check_rank(planes[m], 3, "plane");
    check_rank(lines[m], 2, "line");
    check_nodes(lines[m].size(0));
    nodes[kAxisW[m]] = lines[m].size(0);
  }
  for (int m = 0; m < 3; ++m)
    TORCH_CHECK(
        lines[m].size(1) == planes[m].size(2) && planes[m].size(0) == nodes[kAxisV[m]] &&
            planes[m].size(1) == nodes[kAxisU[m]],
        "planes and lines disagree on the nodes of an axis or on the channels");
}

// Three lines of one number of channels.
inline void check_cp(const std::array<at::Tensor, 3>& lines) {
  for (const at::Tensor& line : lines) {
    check_rank(line, 2, "line");
    check_nodes(line.size(0));
    TORCH_CHECK(line.size(1) == lines[0].size(1), "lines: expected one number of channels");
  }
}

}  // namespace nerf_ssim
