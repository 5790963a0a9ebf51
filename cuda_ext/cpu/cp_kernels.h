// The inner loops of the CP decomposition: products of three lines, and their gradients.
#pragma once

#include "grid_taps.h"

namespace nerf_ssim::NERF_SSIM_ISA {

// Where a sample reads the three lines, which have one number of channels.
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
NERF_SSIM_INLINE void for_each_cp_sample(const CpGrid& grid, const float* coords, int64_t begin, int64_t end,
                                         const Body& body) {
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
      if (Features)
        store(out + s * channels + k, product);
      else
        sum += product;
    }
    for (int64_t k = vectors; k < channels; ++k) {
      const float xy = cp_line_scalar(grid, c, 0, k) * cp_line_scalar(grid, c, 1, k);
      const float product = xy * cp_line_scalar(grid, c, 2, k);
      if (Features)
        out[s * channels + k] = product;
      else
        tail_sum += product;
    }
    if (!Features) out[s] = horizontal_sum(sum) + tail_sum;
  });
}

template <bool Features>
void cp_backward_range(const CpGrid& grid, const float* coords, int64_t begin, int64_t end, const float* grad,
                       int64_t grad_stride, float* const gradients[3]) {
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
      const float line[3] = {cp_line_scalar(grid, c, 0, k), cp_line_scalar(grid, c, 1, k),
                             cp_line_scalar(grid, c, 2, k)};
      for (int axis = 0; axis < 3; ++axis) {
        const float to_line = upstream * line[(axis + 1) % 3] * line[(axis + 2) % 3];
        gradients[axis][c.near[axis] + k] += to_line * c.near_weight[axis];
        gradients[axis][c.far[axis] + k] += to_line * c.far_weight[axis];
      }
    }
  });
}

static void cp_backward(const CpGrid& grid, const float* coords, int64_t begin, int64_t end, const float* grad,
                        int64_t grad_stride, float* const gradients[3]) {
  if (grad_stride == 0)
    cp_backward_range<false>(grid, coords, begin, end, grad, grad_stride, gradients);
  else
    cp_backward_range<true>(grid, coords, begin, end, grad, grad_stride, gradients);
}

}  // namespace nerf_ssim::NERF_SSIM_ISA
