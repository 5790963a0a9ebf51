// The inner loops of the grids, compiled once an instruction-set level (see gemm_vector.h for what the includer sets).
//
// One sample reads four plane rows and two line rows an orientation, each a run of `channels` floats. Kernels take the
// number of vector registers that a run fills as a template parameter; 0 means any number of channels.
#pragma once

#include "gemm_vector.h"
#include "grids.h"

namespace nerf_ssim::NERF_SSIM_ISA {

// Samples are taken in blocks: where they lie is worked out a register of samples at a time, what they read and write
// a register of channels at a time.
constexpr int kBlock = 128;
constexpr int kAhead = 8;  // how many samples ahead the plane rows are asked for: large planes lie beyond the cache
constexpr int kCacheLineFloats = 16;
static_assert(kBlock % kLanes == 0);

// Along one axis, the two nodes around each sample of a block and their weights. A node outside the axis has weight 0
// and a valid index.
struct Taps {
  alignas(64) int32_t near[kBlock], far[kBlock];
  alignas(64) float near_weight[kBlock], far_weight[kBlock];
};

// `coords` holds the block's coordinates along the axis, padded with anything to whole registers.
NERF_SSIM_INLINE void find_taps(const float* coords, int count, int64_t nodes, Taps& taps) {
  const int32_t last = static_cast<int32_t>(nodes) - 1;
  const float scale = 0.5f * static_cast<float>(last), beyond = static_cast<float>(nodes);
  for (int i = 0; i < count; i += kLanes) {
    Vec position = (load(coords + i) + 1.0f) * scale;
    position = position > -1.0f ? position : broadcast(-1.0f);  // a NaN is outside too
    position = position < beyond ? position : broadcast(beyond);
    IntVec node = __builtin_convertvector(position, IntVec);
    node += position < __builtin_convertvector(node, Vec);  // true is -1: towards minus infinity
    const Vec fraction = position - __builtin_convertvector(node, Vec);
    const IntVec has_near = (node >= 0) & (node <= last), has_far = node < last;
    const IntVec zero{}, end = zero + last;
    const IntVec near = node < 0 ? zero : node > last ? end : node, far = has_far ? node + 1 : end;
    const Vec near_weight = has_near ? 1.0f - fraction : Vec{}, far_weight = has_far ? fraction : Vec{};
    std::memcpy(taps.near + i, &near, sizeof(near));
    std::memcpy(taps.far + i, &far, sizeof(far));
    store(taps.near_weight + i, near_weight);
    store(taps.far_weight + i, far_weight);
  }
}

// Taps along all three axes of samples [begin, begin + count).
NERF_SSIM_INLINE void find_taps(const float* coords, int64_t begin, int count, const int64_t nodes[3], Taps taps[3]) {
  alignas(64) float along[3][kBlock] = {};
  for (int i = 0; i < count; ++i)
    for (int axis = 0; axis < 3; ++axis) along[axis][i] = coords[3 * (begin + i) + axis];
  for (int axis = 0; axis < 3; ++axis) find_taps(along[axis], count, nodes[axis], taps[axis]);
}

NERF_SSIM_INLINE void add_to(float* to, Vec value) { store(to, load(to) + value); }

// The four corners of a plane cell and the two of a line cell, as element offsets with their weights.
struct Cell {
  int64_t corner[4];
  float weight[4];
  int64_t end[2];
  float end_weight[2];
};

NERF_SSIM_INLINE Cell cell(const Taps& u, const Taps& v, const Taps& w, int i, int64_t row, int64_t channels) {
  const int64_t near_row = v.near[i] * row, far_row = v.far[i] * row;
  const int64_t near_u = u.near[i] * channels, far_u = u.far[i] * channels;
  return {
      {near_row + near_u, near_row + far_u, far_row + near_u, far_row + far_u},
      {v.near_weight[i] * u.near_weight[i], v.near_weight[i] * u.far_weight[i], v.far_weight[i] * u.near_weight[i],
       v.far_weight[i] * u.far_weight[i]},
      {w.near[i] * channels, w.far[i] * channels},
      {w.near_weight[i], w.far_weight[i]}};
}

// Asks for the two plane rows that sample i will read, `channels` floats at each of two neighbouring nodes.
NERF_SSIM_INLINE void prefetch_plane(
    const float* plane, const Taps& u, const Taps& v, int i, int64_t row, int64_t channels) {
  const float* near = plane + v.near[i] * row + u.near[i] * channels;
  const float* far = plane + v.far[i] * row + u.near[i] * channels;
  for (int64_t k = 0; k < 2 * channels; k += kCacheLineFloats) {
    __builtin_prefetch(near + k);
    __builtin_prefetch(far + k);
  }
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

// Orientation m of one sample: its products go to `row` (features) or are added up (density).
template <int Registers, bool Features, int m>
NERF_SSIM_INLINE void vm_sample(
    const VmGrid& grid, const Taps taps[3], int i, float* row, Vec& sum, float& tail_sum) {
  const int64_t channels = Registers ? Registers * kLanes : grid.channels[m];
  const int64_t plane_row = grid.nodes[kAxisU[m]] * channels;
  const Cell c = cell(taps[kAxisU[m]], taps[kAxisV[m]], taps[kAxisW[m]], i, plane_row, channels);
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
}

// out[s] or out[s, :] for samples [begin, end).
template <int Registers, bool Features>
NERF_SSIM_INLINE void vm_forward(const VmGrid& grid, const float* coords, int64_t begin, int64_t end, float* out) {
  const int64_t width = grid.channels[0] + grid.channels[1] + grid.channels[2];
  Taps taps[3];
  for (int64_t first = begin; first < end; first += kBlock) {
    const int count = static_cast<int>(end - first < kBlock ? end - first : kBlock);
    find_taps(coords, first, count, grid.nodes, taps);
    for (int i = 0; i < count; ++i) {
      if (i + kAhead < count)
        for (int m = 0; m < 3; ++m)
          prefetch_plane(
              grid.planes[m], taps[kAxisU[m]], taps[kAxisV[m]], i + kAhead,
              grid.nodes[kAxisU[m]] * (Registers ? Registers * kLanes : grid.channels[m]),
              Registers ? Registers * kLanes : grid.channels[m]);
      Vec sum{};
      float tail_sum = 0.0f;
      float* row = Features ? out + (first + i) * width : nullptr;
      vm_sample<Registers, Features, 0>(grid, taps, i, row, sum, tail_sum);
      vm_sample<Registers, Features, 1>(grid, taps, i, row + grid.channels[0], sum, tail_sum);
      vm_sample<Registers, Features, 2>(grid, taps, i, row + grid.channels[0] + grid.channels[1], sum, tail_sum);
      if (!Features) out[first + i] = horizontal_sum(sum) + tail_sum;
    }
  }
}

// The next samples (up to kBlock, from `s` on) whose near row lies in the share; returns how many.
NERF_SSIM_INLINE int next_owned(const VmShare& share, int64_t samples, int64_t& s, int64_t owned[kBlock]) {
  const uint32_t first_row = static_cast<uint32_t>(share.row_begin);
  const uint32_t rows = static_cast<uint32_t>(share.row_end - share.row_begin);
  int count = 0;
  for (; s < samples && count < kBlock; ++s) {
    owned[count] = s;
    count += static_cast<uint32_t>(share.near_rows[s]) - first_row < rows;
  }
  return count;
}

// Gradients of one orientation for the samples that the share owns.
template <int Registers, bool Features>
NERF_SSIM_INLINE void vm_backward_share(
    const VmGrid& grid, const VmShare& share, const float* coords, int64_t samples, const float* grad,
    int64_t grad_stride, float* plane_gradient) {
  const int m = share.orientation;
  const int axes[3] = {kAxisU[m], kAxisV[m], kAxisW[m]};
  const int64_t channels = Registers ? Registers * kLanes : grid.channels[m];
  const int64_t row = grid.nodes[axes[0]] * channels, vectors = whole<Registers>(channels);
  const float* plane = grid.planes[m];
  const float* line = grid.lines[m];
  Taps taps[3];
  alignas(64) float along[kBlock] = {};
  int64_t owned[kBlock], s = 0;
  while (const int count = next_owned(share, samples, s, owned)) {
    // 1. where the samples lie
    for (int a = 0; a < 3; ++a) {
      for (int i = 0; i < count; ++i) along[i] = coords[3 * owned[i] + axes[a]];
      find_taps(along, count, grid.nodes[axes[a]], taps[a]);
    }
    for (int i = 0; i < count; ++i) {
      if (i + kAhead < count) {
        prefetch_plane(plane, taps[0], taps[1], i + kAhead, row, channels);
        prefetch_plane(plane_gradient, taps[0], taps[1], i + kAhead, row, channels);
      }
      // 2. what one reads, and where its gradient goes: the far row may belong to the next share
      const Cell c = cell(taps[0], taps[1], taps[2], i, row, channels);
      float* far_row = taps[1].far[i] < share.row_end ? plane_gradient : share.halo - share.row_end * row;
      const float* g = Features ? grad + owned[i] * grad_stride : grad + owned[i];
      // 3. product rule, registers first and then the tail
      for (int64_t k = 0; k < vectors; k += kLanes) {
        const Vec upstream = Features ? load(g + k) : broadcast(*g);
        const Vec to_plane = upstream * line_at(line, c, k);
        const Vec to_line = upstream * plane_at(plane, c, k);
        add_to(plane_gradient + c.corner[0] + k, to_plane * c.weight[0]);
        add_to(plane_gradient + c.corner[1] + k, to_plane * c.weight[1]);
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
          (corner < 2 ? plane_gradient : far_row)[c.corner[corner] + k] += to_plane * c.weight[corner];
        for (int side = 0; side < 2; ++side) share.line_gradient[c.end[side] + k] += to_line * c.end_weight[side];
      }
    }
  }
}

// CP: each sample is the product of three lines, all of one number of channels. Where sample i reads them:
struct CpCell {
  int64_t near[3], far[3];
  float near_weight[3], far_weight[3];
};

NERF_SSIM_INLINE CpCell cp_cell(const Taps taps[3], int i, int64_t channels) {
  CpCell c;
  for (int axis = 0; axis < 3; ++axis) {
    c.near[axis] = taps[axis].near[i] * channels;
    c.far[axis] = taps[axis].far[i] * channels;
    c.near_weight[axis] = taps[axis].near_weight[i];
    c.far_weight[axis] = taps[axis].far_weight[i];
  }
  return c;
}

NERF_SSIM_INLINE Vec cp_line(const CpGrid& grid, const CpCell& c, int axis, int64_t k) {
  const float* line = grid.lines[axis] + k;
  return load(line + c.near[axis]) * c.near_weight[axis] + load(line + c.far[axis]) * c.far_weight[axis];
}

NERF_SSIM_INLINE float cp_line_scalar(const CpGrid& grid, const CpCell& c, int axis, int64_t k) {
  const float* line = grid.lines[axis] + k;
  return line[c.near[axis]] * c.near_weight[axis] + line[c.far[axis]] * c.far_weight[axis];
}

// Calls body(s, cell) for samples [begin, end).
template <class Body>
NERF_SSIM_INLINE void for_each_cp_sample(
    const CpGrid& grid, const float* coords, int64_t begin, int64_t end, const Body& body) {
  Taps taps[3];
  for (int64_t first = begin; first < end; first += kBlock) {
    const int count = static_cast<int>(end - first < kBlock ? end - first : kBlock);
    find_taps(coords, first, count, grid.nodes, taps);
    for (int i = 0; i < count; ++i) body(first + i, cp_cell(taps, i, grid.channels));
  }
}

template <bool Features>
void cp_forward(const CpGrid& grid, const float* coords, int64_t begin, int64_t end, float* out) {
  const int64_t channels = grid.channels, vectors = whole<0>(channels);
  for_each_cp_sample(grid, coords, begin, end, [&](int64_t s, const CpCell& c) {
    Vec sum{};
    float tail_sum = 0.0f;
    for (int64_t k = 0; k < vectors; k += kLanes) {
      const Vec product = cp_line(grid, c, 0, k) * cp_line(grid, c, 1, k) * cp_line(grid, c, 2, k);
      if (Features) store(out + s * channels + k, product);
      else sum += product;
    }
    for (int64_t k = vectors; k < channels; ++k) {
      const float xy = cp_line_scalar(grid, c, 0, k) * cp_line_scalar(grid, c, 1, k);
      const float product = xy * cp_line_scalar(grid, c, 2, k);
      if (Features) out[s * channels + k] = product;
      else tail_sum += product;
    }
    if (!Features) out[s] = horizontal_sum(sum) + tail_sum;
  });
}

template <bool Features>
void cp_backward_range(
    const CpGrid& grid, const float* coords, int64_t begin, int64_t end, const float* grad, int64_t grad_stride,
    float* const gradients[3]) {
  const int64_t channels = grid.channels, vectors = whole<0>(channels);
  for_each_cp_sample(grid, coords, begin, end, [&](int64_t s, const CpCell& c) {
    const float* g = Features ? grad + s * grad_stride : grad + s;
    for (int64_t k = 0; k < vectors; k += kLanes) {
      const Vec upstream = Features ? load(g + k) : broadcast(*g);
      const Vec x = cp_line(grid, c, 0, k), y = cp_line(grid, c, 1, k), z = cp_line(grid, c, 2, k);
      const Vec to[3] = {upstream * y * z, upstream * x * z, upstream * x * y};
      for (int axis = 0; axis < 3; ++axis) {
        add_to(gradients[axis] + c.near[axis] + k, to[axis] * c.near_weight[axis]);
        add_to(gradients[axis] + c.far[axis] + k, to[axis] * c.far_weight[axis]);
      }
    }
    for (int64_t k = vectors; k < channels; ++k) {
      const float upstream = Features ? g[k] : *g;
      const float line[3] = {
          cp_line_scalar(grid, c, 0, k), cp_line_scalar(grid, c, 1, k), cp_line_scalar(grid, c, 2, k)};
      for (int axis = 0; axis < 3; ++axis) {
        const float to_line = upstream * line[(axis + 1) % 3] * line[(axis + 2) % 3];
        gradients[axis][c.near[axis] + k] += to_line * c.near_weight[axis];
        gradients[axis][c.far[axis] + k] += to_line * c.far_weight[axis];
      }
    }
  });
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
  alignas(64) float along[kBlock] = {};
  Taps taps;
  for (int64_t first = begin; first < end; first += kBlock) {
    const int count = static_cast<int>(end - first < kBlock ? end - first : kBlock);
    for (int i = 0; i < count; ++i) along[i] = coords[3 * (first + i) + axis];
    find_taps(along, count, nodes, taps);
    std::memcpy(out + first, taps.near, count * sizeof(int32_t));
  }
}

inline GridKernels grid_kernels() {
  return {vm_density, vm_features, vm_backward, cp_forward<false>, cp_forward<true>, cp_backward, near_nodes};
}

}  // namespace nerf_ssim::NERF_SSIM_ISA
