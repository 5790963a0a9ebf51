// Dense voxel grids. Forward, a thread owns a run of samples; backward, a run of x-slabs of the gradient, to which it
// alone adds, every node receiving its samples in their order.
#include "../include/voxels.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "sample_shares.h"
#include "x86_levels.h"

namespace nerf_ssim::cpu {
namespace {

constexpr int kBlock = 64;  // samples whose places are worked out together
constexpr int kAhead = 8;   // how many samples ahead memory is asked for: large grids lie beyond the cache
constexpr int kQuad = 4;    // floats taken together
constexpr int kCacheLineFloats = 16;

typedef float Quad __attribute__((vector_size(kQuad * sizeof(float)), aligned(sizeof(float)), may_alias));

NERF_SSIM_PART Quad& quad(float* at) { return *reinterpret_cast<Quad*>(at); }
NERF_SSIM_PART const Quad& quad(const float* at) { return *reinterpret_cast<const Quad*>(at); }

// Along one axis, the two nodes around each sample of a block and their weights. A node outside the axis has weight 0
// and a valid index.
struct Taps {
  int32_t near[kBlock], far[kBlock];
  float near_weight[kBlock], far_weight[kBlock];
};

NERF_SSIM_PART void find_taps(const float* along, int64_t nodes, Taps& taps) {
  const int32_t last = static_cast<int32_t>(nodes) - 1;
  const float scale = 0.5f * static_cast<float>(last), beyond = static_cast<float>(nodes);
#pragma omp simd
  for (int i = 0; i < kBlock; ++i) {
    float position = (along[i] + 1.0f) * scale;
    position = position > -1.0f ? position : -1.0f;  // a NaN is outside too
    position = position < beyond ? position : beyond;
    int32_t node = static_cast<int32_t>(position);
    node -= position < static_cast<float>(node);  // towards minus infinity
    const float fraction = position - static_cast<float>(node);
    taps.near_weight[i] = (node >= 0) & (node <= last) ? 1.0f - fraction : 0.0f;
    taps.far_weight[i] = node < last ? fraction : 0.0f;
    taps.near[i] = node < 0 ? 0 : node > last ? last : node;
    taps.far[i] = node < last ? node + 1 : last;
  }
}

// Taps along the three axes of the samples whose numbers are in `chosen`.
NERF_SSIM_PART void find_taps(const VoxelShape& shape, const float* coords, const int64_t* chosen, int count,
                              Taps taps[3]) {
  float along[3][kBlock] = {};
  for (int i = 0; i < count; ++i)
    for (int axis = 0; axis < 3; ++axis) along[axis][i] = coords[3 * chosen[i] + axis];
  for (int axis = 0; axis < 3; ++axis) find_taps(along[axis], shape.nodes[axis], taps[axis]);
}

// The four z-lines around a sample (near and far x, near and far y) as offsets of their first float, their weights, and
// where along them its two nodes are.
struct Cell {
  int64_t line[4];
  float weight[4];
  int64_t node[2];
  float node_weight[2];
};

NERF_SSIM_PART Cell cell(const VoxelShape& shape, const Taps taps[3], int i) {
  const int64_t line = shape.nodes[2] * shape.channels, slab = shape.nodes[1] * line;
  const int64_t near_x = taps[0].near[i] * slab, far_x = taps[0].far[i] * slab;
  const int64_t near_y = taps[1].near[i] * line, far_y = taps[1].far[i] * line;
  const float x[2] = {taps[0].near_weight[i], taps[0].far_weight[i]};
  const float y[2] = {taps[1].near_weight[i], taps[1].far_weight[i]};
  return {{near_x + near_y, near_x + far_y, far_x + near_y, far_x + far_y},
          {x[0] * y[0], x[0] * y[1], x[1] * y[0], x[1] * y[1]},
          {taps[2].near[i] * shape.channels, taps[2].far[i] * shape.channels},
          {taps[2].near_weight[i], taps[2].far_weight[i]}};
}

// Asks for the memory of sample i: two neighbouring nodes on each of four lines.
NERF_SSIM_PART void prefetch(const float* grid, const VoxelShape& shape, const Taps taps[3], int i) {
  const Cell c = cell(shape, taps, i);
  for (int l = 0; l < 4; ++l) {
    const float* from = grid + c.line[l] + c.node[0];
    for (int64_t k = 0; k < 2 * shape.channels; k += kCacheLineFloats) __builtin_prefetch(from + k);
    __builtin_prefetch(from + 2 * shape.channels - 1);
  }
}

// Samples [begin, end). `Channels` is their number where it is known when compiling, 0 for any.
template <int Channels>
NERF_SSIM_PART void sample_range(const VoxelShape& shape, const float* grid, const float* coords, int64_t begin,
                                 int64_t end, float* out) {
  const int64_t channels = Channels ? Channels : shape.channels, whole = channels / kQuad * kQuad;
  Taps taps[3];
  int64_t chosen[kBlock];
  for (int64_t first = begin; first < end; first += kBlock) {
    const int count = static_cast<int>(std::min<int64_t>(kBlock, end - first));
    for (int i = 0; i < count; ++i) chosen[i] = first + i;
    find_taps(shape, coords, chosen, count, taps);
    for (int i = 0; i < count; ++i) {
      if (i + kAhead < count) prefetch(grid, shape, taps, i + kAhead);
      const Cell c = cell(shape, taps, i);
      float* to = out + (first + i) * channels;
      for (int64_t k = 0; k < whole; k += kQuad) {
        Quad sum{};
        for (int l = 0; l < 4; ++l) {
          const float* from = grid + c.line[l] + k;
          sum += c.weight[l] * (quad(from + c.node[0]) * c.node_weight[0] + quad(from + c.node[1]) * c.node_weight[1]);
        }
        quad(to + k) = sum;
      }
      for (int64_t k = whole; k < channels; ++k) {
        float sum = 0.0f;
        for (int l = 0; l < 4; ++l) {
          const float* from = grid + c.line[l] + k;
          sum += c.weight[l] * (from[c.node[0]] * c.node_weight[0] + from[c.node[1]] * c.node_weight[1]);
        }
        to[k] = sum;
      }
    }
  }
}

NERF_SSIM_CLONES void sample_share(const VoxelShape& shape, const float* grid, const float* coords, int64_t begin,
                                   int64_t end, float* out) {
  if (shape.channels == 12)
    sample_range<12>(shape, grid, coords, begin, end, out);
  else if (shape.channels == 1)
    sample_range<1>(shape, grid, coords, begin, end, out);
  else
    sample_range<0>(shape, grid, coords, begin, end, out);
}

// The near x-node of samples [begin, end).
NERF_SSIM_CLONES void near_slabs(const float* coords, int64_t nodes, int64_t begin, int64_t end, int32_t* out) {
  Taps taps;
  float along[kBlock] = {};
  for (int64_t first = begin; first < end; first += kBlock) {
    const int count = static_cast<int>(std::min<int64_t>(kBlock, end - first));
    for (int i = 0; i < count; ++i) along[i] = coords[3 * (first + i)];
    find_taps(along, nodes, taps);
    std::memcpy(out + first, taps.near, count * sizeof(int32_t));
  }
}

// A run of x-slabs, and the near slab of every sample.
struct Slabs {
  int64_t begin, end;
  const int32_t* near;

  bool has(int64_t x) const { return x >= begin && x < end; }
};

// Notes that the two nodes of a cell on line (x, y) have a gradient.
NERF_SSIM_PART void touch(const VoxelShape& shape, const Cell& c, int64_t x, int64_t y, uint8_t* touched) {
  uint8_t* runs = touched + (x * shape.nodes[1] + y) * runs_of(shape.nodes[2] * shape.channels);
  const int64_t last = (c.node[1] + shape.channels - 1) / kVoxelRun;
  for (int64_t run = c.node[0] / kVoxelRun; run <= last; ++run) runs[run] = 1;
}

// Adds what the samples contribute to the share's slabs.
template <int Channels>
NERF_SSIM_PART void add_to_slabs(const VoxelShape& shape, const Slabs& share, const float* coords, int64_t samples,
                                 const float* grad, float* gradient, uint8_t* touched) {
  const int64_t channels = Channels ? Channels : shape.channels, whole = channels / kQuad * kQuad;
  Taps taps[3];
  int64_t chosen[kBlock];
  for (int64_t s = 0; s < samples;) {
    // 1. the next samples with a node in the share; the single channel of a density often has no gradient
    int count = 0;
    for (; s < samples && count < kBlock; ++s) {
      chosen[count] = s;
      const bool is_near = share.near[s] + 1 >= share.begin && share.near[s] < share.end;
      count += is_near && (Channels != 1 || grad[s] != 0.0f);
    }
    // 2. where they lie
    find_taps(shape, coords, chosen, count, taps);
    for (int i = 0; i < count; ++i) {
      if (i + kAhead < count) prefetch(gradient, shape, taps, i + kAhead);
      const Cell c = cell(shape, taps, i);
      const float* g = grad + chosen[i] * channels;
      // 3. both lines of each slab that is the share's own
      for (int side = 0; side < 2; ++side) {
        const int64_t x = side == 0 ? taps[0].near[i] : taps[0].far[i];
        if (!share.has(x)) continue;
        for (int l = 2 * side; l < 2 * side + 2; ++l) {
          if (touched) touch(shape, c, x, l % 2 == 0 ? taps[1].near[i] : taps[1].far[i], touched);
          float* to = gradient + c.line[l];
          const float near = c.weight[l] * c.node_weight[0], far = c.weight[l] * c.node_weight[1];
          for (int64_t k = 0; k < whole; k += kQuad) {
            quad(to + c.node[0] + k) += quad(g + k) * near;
            quad(to + c.node[1] + k) += quad(g + k) * far;
          }
          for (int64_t k = whole; k < channels; ++k) {
            to[c.node[0] + k] += g[k] * near;
            to[c.node[1] + k] += g[k] * far;
          }
        }
      }
    }
  }
}

NERF_SSIM_CLONES void add_share(const VoxelShape& shape, const Slabs& share, const float* coords, int64_t samples,
                                const float* grad, float* gradient, uint8_t* touched) {
  if (shape.channels == 12)
    add_to_slabs<12>(shape, share, coords, samples, grad, gradient, touched);
  else if (shape.channels == 1)
    add_to_slabs<1>(shape, share, coords, samples, grad, gradient, touched);
  else
    add_to_slabs<0>(shape, share, coords, samples, grad, gradient, touched);
}

}  // namespace

void voxel_features(const VoxelShape& shape, const float* grid, const float* coords, int64_t samples, float* out,
                    int threads) {
  const int shares = sample_shares(samples, threads);
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share)
    sample_share(shape, grid, coords, samples * share / shares, samples * (share + 1) / shares, out);
}

void add_voxel_features_gradient(const VoxelShape& shape, const float* coords, int64_t samples, const float* grad,
                                 float* gradient, uint8_t* touched, int threads) {
  const int shares = sample_shares(samples, threads);
  std::vector<int32_t> near(samples);
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share)
    near_slabs(coords, shape.nodes[0], samples * share / shares, samples * (share + 1) / shares, near.data());
  const std::vector<int64_t> boundary = balanced_rows(near, shape.nodes[0], shares);
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share)
    add_share(shape, {boundary[share], boundary[share + 1], near.data()}, coords, samples, grad, gradient, touched);
}

}  // namespace nerf_ssim::cpu
