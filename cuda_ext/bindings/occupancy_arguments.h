// Occupancy volumes and masks that marchers look up: no axis may be without a node, nor longer than they count.
#pragma once

#include "arguments.h"

namespace nerf_ssim {

// The cells [nx + 1, ny + 1, nz + 1] of a volume of nodes.
inline at::Tensor checked_cells(const at::Tensor& bits, const at::Tensor& like) {
  at::Tensor cells = checked_bits(bits, like);
  for (const int64_t size : cells.sizes()) check_nodes(size - 1);
  return cells;
}

// A mask of nodes.
inline at::Tensor checked_open_nodes(const at::Tensor& mask, const at::Tensor& like) {
  at::Tensor open = checked_mask(mask, like);
  for (const int64_t nodes : open.sizes()) check_nodes(nodes);
  TORCH_CHECK(open.numel() < INT32_MAX, "mask: expected fewer than 2^31 nodes");
  return open;
}

}  // namespace nerf_ssim
