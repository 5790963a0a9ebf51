// The inner loops of the VM decomposition: density, features, and the gradients of both.
//
// One sample reads four plane rows and two line rows an orientation, each a run of `channels` floats. Kernels take the
// number of vector registers that a run fills as a template parameter; 0 means any number of channels.
#pragma once

#include "grid_taps.h"

namespace nerf_ssim::NERF_SSIM_ISA {

// Where a block of samples lies in each orientation.
struct VmCells {
  Cells of[3];

  NERF_SSIM_INLINE void find(const VmGrid& grid, const float* coords, int64_t begin, int count) {
    Taps taps[3];
    find_taps(coords, begin, count, grid.nodes, taps);
    for (int m = 0; m < 3; ++m)
      find_cells(taps[kAxisU[m]], taps[kAxisV[m]], taps[kAxisW[m]], count, grid.nodes[kAxisU[m]] * grid.channels[m],
                 grid.channels[m], of[m]);
  }
};

// Orientation m of one sample: its products go to `row` (features) or are added up (density).
template <int Registers, bool Features>
NERF_SSIM_INLINE void vm_sample(const VmGrid& grid, int m, const Cell& c, float* row, Vec& sum, float& tail_sum) {
  const int64_t channels = Registers ? Registers * kLanes : grid.channels[m];
  const float* plane = grid.planes[m];
  const float* line = grid.lines[m];
  const int64_t vectors = whole<Registers>(channels);
  for (int64_t k = 0; k < vectors; k += kLanes) {
    const Vec product = plane_at(plane, c, k) * line_at(line, c, k);
    if (Features)
      store(row + k, product);
    else
      sum += product;
  }
  for (int64_t k = vectors; !Registers && k < channels; ++k) {
    const float product = plane_at_scalar(plane, c, k) * line_at_scalar(line, c, k);
    if (Features)
      row[k] = product;
    else
      tail_sum += product;
  }
}

// out[s] or out[s, :] of the `count` samples of a block from `first` on.
template <int Registers, bool Features>
NERF_SSIM_INLINE void vm_block(const VmGrid& grid, const float* coords, int64_t first, int count, float* out) {
  const int64_t width = grid.channels[0] + grid.channels[1] + grid.channels[2];
  VmCells cells;
  cells.find(grid, coords, first, count);
  for (int i = 0; i < count; ++i) {
    if (i + kAhead < count)
      for (int m = 0; m < 3; ++m)
        prefetch_plane(grid.planes[m], cells.of[m], i + kAhead, Registers ? Registers * kLanes : grid.channels[m]);
    Vec sum{};
    float tail_sum = 0.0f;
    float* row = Features ? out + i * width : nullptr;
    for (int m = 0; m < 3; ++m) {
      vm_sample<Registers, Features>(grid, m, Cell(cells.of[m], i), row, sum, tail_sum);
      if (Features) row += grid.channels[m];
    }
    if (!Features) out[i] = horizontal_sum(sum) + tail_sum;
  }
}

template <int Registers, bool Features>
NERF_SSIM_INLINE void vm_forward(const VmGrid& grid, const float* coords, int64_t begin, int64_t end, float* out) {
  const int64_t width = Features ? grid.channels[0] + grid.channels[1] + grid.channels[2] : 1;
  for (int64_t first = begin; first < end; first += kBlock)
    vm_block<Registers, Features>(grid, coords, first, static_cast<int>(end - first < kBlock ? end - first : kBlock),
                                  out + first * width);
}

// Samples of which a share owns the near plane row, a block of them at a time, with where they lie in its orientation.
struct OwnedBlock {
  int64_t sample[kBlock];
  int count;
  Taps v;
  Cells cells;

  // Finds the next ones from sample `s` on; false if there are none.
  NERF_SSIM_INLINE bool next(const VmGrid& grid, const VmShare& share, const float* coords, int64_t samples,
                             int64_t& s) {
    const uint32_t first_row = static_cast<uint32_t>(share.row_begin);
    const uint32_t rows = static_cast<uint32_t>(share.row_end - share.row_begin);
    count = 0;
    for (; s < samples && count < kBlock; ++s) {
      sample[count] = s;
      count += static_cast<uint32_t>(share.near_rows[s]) - first_row < rows;
    }
    const int m = share.orientation, axes[3] = {kAxisU[m], kAxisV[m], kAxisW[m]};
    alignas(64) float along[3][kBlock] = {};
    for (int i = 0; i < count; ++i)
      for (int a = 0; a < 3; ++a) along[a][i] = coords[3 * sample[i] + axes[a]];
    Taps u, w;
    find_taps(along[0], count, grid.nodes[axes[0]], u);
    find_taps(along[1], count, grid.nodes[axes[1]], v);
    find_taps(along[2], count, grid.nodes[axes[2]], w);
    find_cells(u, v, w, count, grid.nodes[axes[0]] * grid.channels[m], grid.channels[m], cells);
    return count > 0;
  }
};

// What a sample's channels receive from above: one number for all of them, or one each.
enum class Upstream { kOne, kEach };

// Spreads the gradients of a block's samples into the plane and the share's line. `upstream(i)` points to what sample i
// receives; `product_row(i)`, where products are wanted, to where its products go.
template <int Registers, Upstream kUpstream, bool kProducts, class UpstreamOf, class ProductRow>
NERF_SSIM_INLINE void spread_block(const VmGrid& grid, const VmShare& share, const OwnedBlock& block,
                                   float* plane_gradient, const UpstreamOf& upstream_of,
                                   const ProductRow& product_row) {
  const int m = share.orientation;
  const int64_t channels = Registers ? Registers * kLanes : grid.channels[m];
  const int64_t row = grid.nodes[kAxisU[m]] * channels, vectors = whole<Registers>(channels);
  const float* plane = grid.planes[m];
  const float* line = grid.lines[m];
  const Cells& cells = block.cells;
  for (int i = 0; i < block.count; ++i) {
    if (i + kAhead < block.count) {
      prefetch_plane(plane, cells, i + kAhead, channels);
      prefetch_plane(plane_gradient, cells, i + kAhead, channels);
    }
    // 1. where the gradient goes: the far row may belong to the next share
    float* far_row = block.v.far[i] < share.row_end ? plane_gradient : share.halo - share.row_end * row;
    const Cell c(cells, i);
    float* const to[6] = {plane_gradient + c.corner[0], plane_gradient + c.corner[1],   far_row + c.corner[2],
                          far_row + c.corner[3],        share.line_gradient + c.end[0], share.line_gradient + c.end[1]};
    const float* g = upstream_of(i);
    // 2. product rule, registers first and then the tail
    for (int64_t k = 0; k < vectors; k += kLanes) {
      const Vec upstream = kUpstream == Upstream::kEach ? load(g + k) : broadcast(*g);
      const Vec of_line = line_at(line, c, k), of_plane = plane_at(plane, c, k);
      if (kProducts) store(product_row(i) + k, of_plane * of_line);
      const Vec to_plane = upstream * of_line, to_line = upstream * of_plane;
      for (int corner = 0; corner < 4; ++corner) add_to(to[corner] + k, to_plane * c.weight[corner]);
      for (int end = 0; end < 2; ++end) add_to(to[4 + end] + k, to_line * c.end_weight[end]);
    }
    for (int64_t k = vectors; !Registers && k < channels; ++k) {
      const float upstream = kUpstream == Upstream::kEach ? g[k] : *g;
      const float of_line = line_at_scalar(line, c, k), of_plane = plane_at_scalar(plane, c, k);
      if (kProducts) product_row(i)[k] = of_plane * of_line;
      for (int corner = 0; corner < 4; ++corner) to[corner][k] += upstream * of_line * c.weight[corner];
      for (int end = 0; end < 2; ++end) to[4 + end][k] += upstream * of_plane * c.end_weight[end];
    }
  }
}

// Gradients of one orientation for the samples that the share owns.
template <int Registers, Upstream kUpstream>
NERF_SSIM_INLINE void vm_backward_share(const VmGrid& grid, const VmShare& share, const float* coords, int64_t samples,
                                        const float* grad, int64_t grad_stride, float* plane_gradient) {
  OwnedBlock block;
  int64_t s = 0;
  while (block.next(grid, share, coords, samples, s))
    spread_block<Registers, kUpstream, false>(
        grid, share, block, plane_gradient,
        [&](int i) { return grad + block.sample[i] * (kUpstream == Upstream::kEach ? grad_stride : 1); },
        [](int) -> float* { return nullptr; });
}

static void vm_density(const VmGrid& grid, const float* coords, int64_t begin, int64_t end, float* out) {
  const int64_t* n = grid.channels;
  if (n[0] == 16 && n[1] == 16 && n[2] == 16)
    vm_forward<16 / kLanes, false>(grid, coords, begin, end, out);
  else
    vm_forward<0, false>(grid, coords, begin, end, out);
}

static void vm_features(const VmGrid& grid, const float* coords, int64_t begin, int64_t end, float* out) {
  const int64_t* n = grid.channels;
  if (n[0] == 48 && n[1] == 48 && n[2] == 48)
    vm_forward<48 / kLanes, true>(grid, coords, begin, end, out);
  else
    vm_forward<0, true>(grid, coords, begin, end, out);
}

static void vm_backward(const VmGrid& grid, const VmShare& share, const float* coords, int64_t samples,
                        const float* grad, int64_t grad_stride, float* plane_gradient) {
  const int64_t channels = grid.channels[share.orientation];
  if (grad_stride == 0 && channels == 16)
    vm_backward_share<16 / kLanes, Upstream::kOne>(grid, share, coords, samples, grad, grad_stride, plane_gradient);
  else if (grad_stride == 0)
    vm_backward_share<0, Upstream::kOne>(grid, share, coords, samples, grad, grad_stride, plane_gradient);
  else if (channels == 48)
    vm_backward_share<48 / kLanes, Upstream::kEach>(grid, share, coords, samples, grad, grad_stride, plane_gradient);
  else
    vm_backward_share<0, Upstream::kEach>(grid, share, coords, samples, grad, grad_stride, plane_gradient);
}

static void near_nodes(const float* coords, int axis, int64_t nodes, int64_t begin, int64_t end, int32_t* out) {
  alignas(64) float along[kBlock] = {};
  Taps taps;
  for (int64_t first = begin; first < end; first += kBlock) {
    const int count = static_cast<int>(end - first < kBlock ? end - first : kBlock);
    for (int i = 0; i < count; ++i) along[i] = coords[3 * (first + i) + axis];
    find_taps(along, count, nodes, taps);
    std::memcpy(out + first, taps.near, count * sizeof(int32_t));
  }
}

}  // namespace nerf_ssim::NERF_SSIM_ISA
