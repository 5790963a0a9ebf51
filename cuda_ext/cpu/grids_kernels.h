// The inner loops of the grids, compiled once an instruction-set level (see gemm_vector.h for what the includer sets).
//
// One sample reads four plane rows and two line rows an orientation, each a run of `channels` floats. Kernels take the
// number of vector registers that a run fills as a template parameter; 0 means any number of channels.
#pragma once

#include "gemm_vector.h"
#include "grids.h"

namespace nerf_ssim::NERF_SSIM_ISA {

// The two nodes around a coordinate and their weights. A node outside the axis has weight 0 and a valid index.
struct Tap {
  int64_t near, far;
  float near_weight, far_weight;
};

NERF_SSIM_INLINE Tap tap(float coord, int64_t nodes) {
  const int last = static_cast<int>(nodes) - 1;
  float position = (coord + 1.0f) * (0.5f * static_cast<float>(last));
  position = position > -1.0f ? position : -1.0f;  // a NaN is outside too
  position = position < static_cast<float>(nodes) ? position : static_cast<float>(nodes);
  int node = static_cast<int>(position);
  node -= position < static_cast<float>(node);
  const float fraction = position - static_cast<float>(node);
  const bool has_near = node >= 0 && node <= last, has_far = node < last;
  Tap result;
  result.near = node < 0 ? 0 : node > last ? last : node;
  result.far = has_far ? node + 1 : last;
  result.near_weight = has_near ? 1.0f - fraction : 0.0f;
  result.far_weight = has_far ? fraction : 0.0f;
  return result;
}

NERF_SSIM_INLINE void add_to(float* to, Vec value) { store(to, load(to) + value); }

// The four corners of a plane cell and the two of a line cell, as element offsets with their weights.
struct Cell {
  int64_t corner[4];
  float weight[4];
  int64_t end[2];
  float end_weight[2];
};

NERF_SSIM_INLINE Cell cell(const Tap& u, const Tap& v, const Tap& w, int64_t row, int64_t channels) {
  const int64_t near_row = v.near * row, far_row = v.far * row;
  const int64_t near_u = u.near * channels, far_u = u.far * channels;
  return {
      {near_row + near_u, near_row + far_u, far_row + near_u, far_row + far_u},
      {v.near_weight * u.near_weight, v.near_weight * u.far_weight, v.far_weight * u.near_weight,
       v.far_weight * u.far_weight},
      {w.near * channels, w.far * channels},
      {w.near_weight, w.far_weight}};
}

NERF_SSIM_INLINE Vec plane_at(const float* plane, const Cell& c, int64_t channel) {
  return load(plane + c.corner[0] + channel) * c.weight[0] + load(plane + c.corner[1] + channel) * c.weight[1] +
         load(plane + c.corner[2] + channel) * c.weight[2] + load(plane + c.corner[3] + channel) * c.weight[3];
}

NERF_SSIM_INLINE float plane_at_scalar(const float* plane, const Cell& c, int64_t channel) {
  float sum = 0.0f;
  for (int k = 0; k < 4; ++k) sum += plane[c.corner[k] + channel] * c.weight[k];
  return sum;
}

NERF_SSIM_INLINE Vec line_at(const float* line, const Cell& c, int64_t channel) {
  return load(line + c.end[0] + channel) * c.end_weight[0] + load(line + c.end[1] + channel) * c.end_weight[1];
}

NERF_SSIM_INLINE float line_at_scalar(const float* line, const Cell& c, int64_t channel) {
  return line[c.end[0] + channel] * c.end_weight[0] + line[c.end[1] + channel] * c.end_weight[1];
}

// Channels that fill whole registers; the rest are taken one by one.
template <int Registers>
NERF_SSIM_INLINE int64_t whole(int64_t channels) {
  return Registers ? Registers * kLanes : channels / kLanes * kLanes;
}

// out[s] or out[s, :] for samples [begin, end).
template <int Registers, bool Features>
NERF_SSIM_INLINE void vm_forward(const VmGrid& grid, const float* coords, int64_t begin, int64_t end, float* out) {
  const int64_t width = grid.channels[0] + grid.channels[1] + grid.channels[2];
  for (int64_t s = begin; s < end; ++s) {
    const Tap taps[3] = {
        tap(coords[3 * s], grid.nodes[0]), tap(coords[3 * s + 1], grid.nodes[1]),
        tap(coords[3 * s + 2], grid.nodes[2])};
    Vec sum{};
    float tail_sum = 0.0f;
    float* row = Features ? out + s * width : nullptr;
    for (int m = 0; m < 3; ++m) {
      const int64_t channels = Registers ? Registers * kLanes : grid.channels[m];
      const Cell c =
          cell(taps[kAxisU[m]], taps[kAxisV[m]], taps[kAxisW[m]], grid.nodes[kAxisU[m]] * channels, channels);
      const float* plane = grid.planes[m];
      const float* line = grid.lines[m];
      const int64_t vectors = whole<Registers>(channels);
      for (int64_t k = 0; k < vectors; k += kLanes) {
        const Vec product = plane_at(plane, c, k) * line_at(line, c, k);
        if (Features) store(row + k, product);
        else sum += product;
      }
      for (int64_t k = vectors; !Registers && k < channels; ++k) {
        const float product = plane_at_scalar(plane, c, k) * line_at_scalar(line, c, k);
        if (Features) row[k] = product;
        else tail_sum += product;
      }
      if (Features) row += channels;
    }
    if (!Features) out[s] = horizontal_sum(sum) + tail_sum;
  }
}

// Gradients of one orientation for the samples that the share owns.
template <int Registers, bool Features>
NERF_SSIM_INLINE void vm_backward_share(
    const VmGrid& grid, const VmShare& share, const float* coords, int64_t samples, const float* grad,
    int64_t grad_stride, float* plane_gradient) {
  const int m = share.orientation;
  const int u = kAxisU[m], v = kAxisV[m], w = kAxisW[m];
  const int64_t channels = Registers ? Registers * kLanes : grid.channels[m];
  const int64_t row = grid.nodes[u] * channels, vectors = whole<Registers>(channels);
  const float* plane = grid.planes[m];
  const float* line = grid.lines[m];
  const int64_t owned = share.row_end - share.row_begin;
  for (int64_t s = 0; s < samples; ++s) {
    if (static_cast<uint64_t>(share.near_rows[s] - share.row_begin) >= static_cast<uint64_t>(owned)) continue;
    // 1. where the sample lies, and what it reads
    const Tap tap_v = tap(coords[3 * s + v], grid.nodes[v]);
    const Cell c = cell(tap(coords[3 * s + u], grid.nodes[u]), tap_v, tap(coords[3 * s + w], grid.nodes[w]), row, channels);
    // 2. where its gradient goes: the far row may belong to the next share
    float* near_row = plane_gradient;
    float* far_row = tap_v.far < share.row_end ? plane_gradient : share.halo - share.row_end * row;
    const float* g = Features ? grad + s * grad_stride : grad + s;
    // 3. product rule, registers first and then the tail
    for (int64_t k = 0; k < vectors; k += kLanes) {
      const Vec upstream = Features ? load(g + k) : broadcast(*g);
      const Vec to_plane = upstream * line_at(line, c, k);
      const Vec to_line = upstream * plane_at(plane, c, k);
      add_to(near_row + c.corner[0] + k, to_plane * c.weight[0]);
      add_to(near_row + c.corner[1] + k, to_plane * c.weight[1]);
      add_to(far_row + c.corner[2] + k, to_plane * c.weight[2]);
      add_to(far_row + c.corner[3] + k, to_plane * c.weight[3]);
      add_to(share.line_gradient + c.end[0] + k, to_line * c.end_weight[0]);
      add_to(share.line_gradient + c.end[1] + k, to_line * c.end_weight[1]);
    }
    for (int64_t k = vectors; !Registers && k < channels; ++k) {
      const float upstream = Features ? g[k] : *g;
      const float to_plane = upstream * line_at_scalar(line, c, k);
      const float to_line = upstream * plane_at_scalar(plane, c, k);
      for (int corner = 0; corner < 4; ++corner)
        (corner < 2 ? near_row : far_row)[c.corner[corner] + k] += to_plane * c.weight[corner];
      for (int side = 0; side < 2; ++side) share.line_gradient[c.end[side] + k] += to_line * c.end_weight[side];
    }
  }
}

// CP: each sample is the product of three lines. Value and, if `gradients` is given, its gradient.
struct CpTaps {
  int64_t near[3], far[3];
  float near_weight[3], far_weight[3];
};

NERF_SSIM_INLINE CpTaps cp_taps(const CpGrid& grid, const float* coords, int64_t s) {
  CpTaps all;
  for (int axis = 0; axis < 3; ++axis) {
    const Tap t = tap(coords[3 * s + axis], grid.nodes[axis]);
    all.near[axis] = t.near * grid.channels;
    all.far[axis] = t.far * grid.channels;
    all.near_weight[axis] = t.near_weight;
    all.far_weight[axis] = t.far_weight;
  }
  return all;
}

NERF_SSIM_INLINE Vec cp_line(const CpGrid& grid, const CpTaps& t, int axis, int64_t k) {
  const float* line = grid.lines[axis] + k;
  return load(line + t.near[axis]) * t.near_weight[axis] + load(line + t.far[axis]) * t.far_weight[axis];
}

NERF_SSIM_INLINE float cp_line_scalar(const CpGrid& grid, const CpTaps& t, int axis, int64_t k) {
  const float* line = grid.lines[axis] + k;
  return line[t.near[axis]] * t.near_weight[axis] + line[t.far[axis]] * t.far_weight[axis];
}

template <bool Features>
NERF_SSIM_INLINE void cp_forward(const CpGrid& grid, const float* coords, int64_t begin, int64_t end, float* out) {
  const int64_t vectors = whole<0>(grid.channels);
  for (int64_t s = begin; s < end; ++s) {
    const CpTaps t = cp_taps(grid, coords, s);
    Vec sum{};
    float tail_sum = 0.0f;
    for (int64_t k = 0; k < vectors; k += kLanes) {
      const Vec product = cp_line(grid, t, 0, k) * cp_line(grid, t, 1, k) * cp_line(grid, t, 2, k);
      if (Features) store(out + s * grid.channels + k, product);
      else sum += product;
    }
    for (int64_t k = vectors; k < grid.channels; ++k) {
      const float product = cp_line_scalar(grid, t, 0, k) * cp_line_scalar(grid, t, 1, k) * cp_line_scalar(grid, t, 2, k);
      if (Features) out[s * grid.channels + k] = product;
      else tail_sum += product;
    }
    if (!Features) out[s] = horizontal_sum(sum) + tail_sum;
  }
}

template <bool Features>
NERF_SSIM_INLINE void cp_backward_range(
    const CpGrid& grid, const float* coords, int64_t begin, int64_t end, const float* grad, int64_t grad_stride,
    float* const gradients[3]) {
  const int64_t vectors = whole<0>(grid.channels);
  for (int64_t s = begin; s < end; ++s) {
    const CpTaps t = cp_taps(grid, coords, s);
    const float* g = Features ? grad + s * grad_stride : grad + s;
    for (int64_t k = 0; k < vectors; k += kLanes) {
      const Vec upstream = Features ? load(g + k) : broadcast(*g);
      const Vec x = cp_line(grid, t, 0, k), y = cp_line(grid, t, 1, k), z = cp_line(grid, t, 2, k);
      const Vec to[3] = {upstream * y * z, upstream * x * z, upstream * x * y};
      for (int axis = 0; axis < 3; ++axis) {
        add_to(gradients[axis] + t.near[axis] + k, to[axis] * t.near_weight[axis]);
        add_to(gradients[axis] + t.far[axis] + k, to[axis] * t.far_weight[axis]);
      }
    }
    for (int64_t k = vectors; k < grid.channels; ++k) {
      const float upstream = Features ? g[k] : *g;
      const float x = cp_line_scalar(grid, t, 0, k), y = cp_line_scalar(grid, t, 1, k), z = cp_line_scalar(grid, t, 2, k);
      const float to[3] = {upstream * y * z, upstream * x * z, upstream * x * y};
      for (int axis = 0; axis < 3; ++axis) {
        gradients[axis][t.near[axis] + k] += to[axis] * t.near_weight[axis];
        gradients[axis][t.far[axis] + k] += to[axis] * t.far_weight[axis];
      }
    }
  }
}

static void vm_density(const VmGrid& grid, const float* coords, int64_t begin, int64_t end, float* out) {
  const int64_t* n = grid.channels;
  if (n[0] == 16 && n[1] == 16 && n[2] == 16) vm_forward<16 / kLanes, false>(grid, coords, begin, end, out);
  else vm_forward<0, false>(grid, coords, begin, end, out);
}

static void vm_features(const VmGrid& grid, const float* coords, int64_t begin, int64_t end, float* out) {
  const int64_t* n = grid.channels;
  if (n[0] == 48 && n[1] == 48 && n[2] == 48) vm_forward<48 / kLanes, true>(grid, coords, begin, end, out);
  else vm_forward<0, true>(grid, coords, begin, end, out);
}

static void vm_backward(
    const VmGrid& grid, const VmShare& share, const float* coords, int64_t samples, const float* grad,
    int64_t grad_stride, float* plane_gradient) {
  const int64_t channels = grid.channels[share.orientation];
  if (grad_stride == 0 && channels == 16)
    vm_backward_share<16 / kLanes, false>(grid, share, coords, samples, grad, grad_stride, plane_gradient);
  else if (grad_stride == 0)
    vm_backward_share<0, false>(grid, share, coords, samples, grad, grad_stride, plane_gradient);
  else if (channels == 48)
    vm_backward_share<48 / kLanes, true>(grid, share, coords, samples, grad, grad_stride, plane_gradient);
  else
    vm_backward_share<0, true>(grid, share, coords, samples, grad, grad_stride, plane_gradient);
}

static void cp_backward(
    const CpGrid& grid, const float* coords, int64_t begin, int64_t end, const float* grad, int64_t grad_stride,
    float* const gradients[3]) {
  if (grad_stride == 0) cp_backward_range<false>(grid, coords, begin, end, grad, grad_stride, gradients);
  else cp_backward_range<true>(grid, coords, begin, end, grad, grad_stride, gradients);
}

static void near_nodes(const float* coords, int axis, int64_t nodes, int64_t begin, int64_t end, int32_t* out) {
  for (int64_t s = begin; s < end; ++s) out[s] = static_cast<int32_t>(tap(coords[3 * s + axis], nodes).near);
}

inline GridKernels grid_kernels() {
  return {vm_density, vm_features, vm_backward, cp_forward<false>, cp_forward<true>, cp_backward, near_nodes};
}

}  // namespace nerf_ssim::NERF_SSIM_ISA
