// Where samples lie in a grid, worked out a register of samples at a time: the nodes around them and their weights.
// Included by the grid kernels of each instruction-set level (see gemm_vector.h for what the includer sets).
#pragma once

#include "gemm_vector.h"
#include "levels/tables.h"

namespace nerf_ssim::NERF_SSIM_ISA {

// Samples are taken in blocks: where they lie is worked out a register of samples at a time, what they read and write
// a register of channels at a time. A block's cells (8 KB for three orientations) stay in the first cache.
constexpr int kBlock = 48;
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
    store(taps.near + i, node < 0 ? zero : node > last ? end : node);
    store(taps.far + i, has_far ? node + 1 : end);
    store(taps.near_weight + i, has_near ? 1.0f - fraction : Vec{});
    store(taps.far_weight + i, has_far ? fraction : Vec{});
  }
}

// Taps along all three axes of samples [begin, begin + count).
NERF_SSIM_INLINE void find_taps(const float* coords, int64_t begin, int count, const int64_t nodes[3], Taps taps[3]) {
  alignas(64) float along[3][kBlock] = {};
  for (int i = 0; i < count; ++i)
    for (int axis = 0; axis < 3; ++axis) along[axis][i] = coords[3 * (begin + i) + axis];
  for (int axis = 0; axis < 3; ++axis) find_taps(along[axis], count, nodes[axis], taps[axis]);
}

// The four corners of each sample's plane cell and the two ends of its line cell, as element offsets with weights.
struct Cells {
  alignas(64) int32_t corner[4][kBlock], end[2][kBlock];
  alignas(64) float weight[4][kBlock], end_weight[2][kBlock];
};

// Cells of the orientation with the plane over axes (u, v) and the line along w. `row`: floats from one v to the next.
NERF_SSIM_INLINE void find_cells(const Taps& u, const Taps& v, const Taps& w, int count, int64_t row, int64_t channels,
                                 Cells& cells) {
  const int32_t row_step = static_cast<int32_t>(row), step = static_cast<int32_t>(channels);
  for (int i = 0; i < count; i += kLanes) {
    const IntVec near_v = load(v.near + i) * row_step, far_v = load(v.far + i) * row_step;
    const IntVec near_u = load(u.near + i) * step, far_u = load(u.far + i) * step;
    const Vec down = load(v.far_weight + i), up = load(v.near_weight + i);
    const Vec right = load(u.far_weight + i), left = load(u.near_weight + i);
    store(cells.corner[0] + i, near_v + near_u);
    store(cells.corner[1] + i, near_v + far_u);
    store(cells.corner[2] + i, far_v + near_u);
    store(cells.corner[3] + i, far_v + far_u);
    store(cells.weight[0] + i, up * left);
    store(cells.weight[1] + i, up * right);
    store(cells.weight[2] + i, down * left);
    store(cells.weight[3] + i, down * right);
    store(cells.end[0] + i, load(w.near + i) * step);
    store(cells.end[1] + i, load(w.far + i) * step);
    store(cells.end_weight[0] + i, load(w.near_weight + i));
    store(cells.end_weight[1] + i, load(w.far_weight + i));
  }
}

// Asks for the two plane rows that sample i will read, `channels` floats at each of two neighbouring nodes.
NERF_SSIM_INLINE void prefetch_plane(const float* plane, const Cells& cells, int i, int64_t channels) {
  const float* near = plane + cells.corner[0][i];
  const float* far = plane + cells.corner[2][i];
  for (int64_t k = 0; k < 2 * channels; k += kCacheLineFloats) {
    __builtin_prefetch(near + k);
    __builtin_prefetch(far + k);
  }
}

// One sample's cells, in registers.
struct Cell {
  int64_t corner[4], end[2];
  float weight[4], end_weight[2];

  NERF_SSIM_INLINE Cell(const Cells& cells, int i)
      : corner{cells.corner[0][i], cells.corner[1][i], cells.corner[2][i], cells.corner[3][i]},
        end{cells.end[0][i], cells.end[1][i]},
        weight{cells.weight[0][i], cells.weight[1][i], cells.weight[2][i], cells.weight[3][i]},
        end_weight{cells.end_weight[0][i], cells.end_weight[1][i]} {}
};

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

NERF_SSIM_INLINE void add_to(float* to, Vec value) { store(to, load(to) + value); }

// Channels that fill whole registers; the rest are taken one by one. Registers 0 means any number of channels.
template <int Registers>
NERF_SSIM_INLINE int64_t whole(int64_t channels) {
  return Registers ? Registers * kLanes : channels / kLanes * kLanes;
}

}  // namespace nerf_ssim::NERF_SSIM_ISA
