// Where a sample lies in a factorised grid and how lanes share it: four lanes own a sample, lane i of them its chunks
// of channels i, i + 4, ... so that they read neighbouring memory.
#pragma once

#include "../include/grids.h"
#include "chunks.cuh"
#include "segments.cuh"

namespace nerf_ssim {
namespace {

constexpr int kGroup = 4;  // lanes that share a sample

// Along one axis, the two nodes around a sample and their weights. A node outside the axis has weight 0 and a valid
// index; `node` is the lower one as it is, from -1 to the number of nodes.
struct Tap {
  int node, near, far;
  float near_weight, far_weight;
};

__device__ __forceinline__ Tap find_tap(float coord, int64_t nodes) {
  const int last = static_cast<int>(nodes) - 1;
  float position = (coord + 1.0f) * (0.5f * static_cast<float>(last));
  position = position > -1.0f ? position : -1.0f;  // a NaN is outside too
  position = position < static_cast<float>(nodes) ? position : static_cast<float>(nodes);
  const float below = floorf(position), fraction = position - below;
  const int node = static_cast<int>(below);
  return {node, min(max(node, 0), last), min(node + 1, last), node >= 0 && node <= last ? 1.0f - fraction : 0.0f,
          node < last ? fraction : 0.0f};
}

struct Point {
  float along[3];
};

__device__ __forceinline__ Point point_at(const float* coords, int64_t sample) {
  return {{coords[3 * sample], coords[3 * sample + 1], coords[3 * sample + 2]}};
}

// The four corners of a plane cell: the offset of the near one, steps from it to the others, and their weights. A row
// of a plane has fewer than 2^31 floats, so only the offset needs 64 bits.
struct PlaneCell {
  int64_t near;
  int step[4];
  float weight[4];
};

__device__ __forceinline__ PlaneCell plane_cell(const Tap& u, const Tap& v, int nodes_u, int channels) {
  const int to_far_u = (u.far - u.near) * channels, to_far_v = (v.far - v.near) * nodes_u * channels;
  return {(int64_t{v.near} * nodes_u + u.near) * channels,
          {0, to_far_u, to_far_v, to_far_v + to_far_u},
          {v.near_weight * u.near_weight, v.near_weight * u.far_weight, v.far_weight * u.near_weight,
           v.far_weight * u.far_weight}};
}

template <int kWidth>
__device__ __forceinline__ Chunk<kWidth> plane_at(const float* plane, const PlaneCell& cell, int channel) {
  const float* near = plane + cell.near + channel;
  Chunk<kWidth> sum{};
  for (int corner = 0; corner < 4; ++corner) {
    const Chunk<kWidth> value = load<kWidth>(near + cell.step[corner]);
    for (int i = 0; i < kWidth; ++i) sum.at[i] += value.at[i] * cell.weight[corner];
  }
  return sum;
}

template <int kWidth>
__device__ __forceinline__ Chunk<kWidth> line_at(const float* line, const Tap& w, int channels, int channel) {
  const Chunk<kWidth> near = load<kWidth>(line + w.near * channels + channel);
  const Chunk<kWidth> far = load<kWidth>(line + w.far * channels + channel);
  Chunk<kWidth> sum;
  for (int i = 0; i < kWidth; ++i) sum.at[i] = near.at[i] * w.near_weight + far.at[i] * w.far_weight;
  return sum;
}

template <int kWidth>
__device__ __forceinline__ Chunk<kWidth> product(const Chunk<kWidth>& a, const Chunk<kWidth>& b) {
  Chunk<kWidth> c;
  for (int i = 0; i < kWidth; ++i) c.at[i] = a.at[i] * b.at[i];
  return c;
}

template <int kWidth>
__device__ __forceinline__ Chunk<kWidth> product(const Chunk<kWidth>& a, float b) {
  Chunk<kWidth> c;
  for (int i = 0; i < kWidth; ++i) c.at[i] = a.at[i] * b;
  return c;
}

// The upstream gradient of a chunk: its own in features, one for all channels of a sample in density.
template <int kWidth, bool kFeatures>
__device__ __forceinline__ Chunk<kWidth> upstream_at(const float* grad, int channel) {
  if constexpr (kFeatures) {
    return load<kWidth>(grad + channel);
  } else {
    Chunk<kWidth> same;
    for (int i = 0; i < kWidth; ++i) same.at[i] = *grad;
    return same;
  }
}

// Whether one addition takes four neighbouring floats.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define NERF_SSIM_ADDS_FOURS true
#else
#define NERF_SSIM_ADDS_FOURS false
#endif

template <int kWidth>
__device__ __forceinline__ void add_atomically(float* to, const Chunk<kWidth>& chunk) {
  if constexpr (NERF_SSIM_ADDS_FOURS && kWidth == 4)
    atomicAdd(reinterpret_cast<float4*>(to), make_float4(chunk.at[0], chunk.at[1], chunk.at[2], chunk.at[3]));
  else
    for (int i = 0; i < kWidth; ++i) atomicAdd(to + i, chunk.at[i]);
}

// Chunks of the four lanes of a sample, ready to be added. Where an addition takes one float, the eight lanes of two
// samples first exchange their chunks of four, so that they add eight neighbouring channels of one sample together, a
// whole sector: lane l of them has channels l and l + 8 of both samples. Elsewhere each lane keeps its chunk.
template <int kWidth>
struct Addends {
  static constexpr bool kAreExchanged = kWidth == 4 && !NERF_SSIM_ADDS_FOURS;
  Chunk<kWidth> chunk;  // exchanged: the first sample's two channels, the second sample's two
};

// Keeps one of two and has the other lane's in the place of the one given away.
__device__ __forceinline__ void exchange(float& low, float& high, int lanes_apart) {
  const bool is_upper = threadIdx.x & lanes_apart;
  const float received = __shfl_xor_sync(kWholeWarp, is_upper ? low : high, lanes_apart);
  (is_upper ? low : high) = received;
}

// All lanes of the warp call this together.
template <int kWidth>
__device__ __forceinline__ Addends<kWidth> addends(const Chunk<kWidth>& chunk) {
  if constexpr (Addends<kWidth>::kAreExchanged) {
    Chunk<4> at = chunk;
    // 1. the four lanes: lane l gets channels l, l + 4, l + 8 and l + 12
    exchange(at.at[0], at.at[1], 1);
    exchange(at.at[2], at.at[3], 1);
    exchange(at.at[0], at.at[2], 2);
    exchange(at.at[1], at.at[3], 2);
    // 2. the two samples: upper lanes take the odd fours of both, lower lanes the even ones
    exchange(at.at[0], at.at[1], kGroup);
    exchange(at.at[2], at.at[3], kGroup);
    return {{{at.at[0], at.at[2], at.at[1], at.at[3]}}};
  } else {
    return {chunk};
  }
}

// What the lane itself has of a value and what the lane of the other sample has, the first sample's first.
template <class Value>
struct OfTwo {
  Value first, second;
};

template <class Value>
__device__ __forceinline__ OfTwo<Value> of_two_samples(Value mine) {
  const Value other = __shfl_xor_sync(kWholeWarp, mine, kGroup);
  return threadIdx.x & kGroup ? OfTwo<Value>{other, mine} : OfTwo<Value>{mine, other};
}

// Adds chunks times the sample's weight to a row of `channels`, which begins at `offset` of `gradient` for the sample,
// or nothing where that is negative. All lanes of the warp call this together.
template <int kWidth>
__device__ __forceinline__ void add_to_row(float* gradient, int64_t offset, int channels,
                                           const Addends<kWidth>& addends, float weight) {
  if constexpr (Addends<kWidth>::kAreExchanged) {
    const OfTwo<int64_t> rows = of_two_samples(offset);
    const OfTwo<float> weights = of_two_samples(weight);
    const int channel = threadIdx.x % (2 * kGroup);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int k = channel + half * 2 * kGroup;
      if (rows.first >= 0 && k < channels) atomicAdd(gradient + rows.first + k, addends.chunk.at[half] * weights.first);
      if (rows.second >= 0 && k < channels)
        atomicAdd(gradient + rows.second + k, addends.chunk.at[2 + half] * weights.second);
    }
  } else {
    const int k = threadIdx.x % kGroup * kWidth;
    if (offset >= 0 && k < channels) add_atomically(gradient + offset + k, product(addends.chunk, weight));
  }
}

// Adds the gradients of the channels from `first` on to a line's node. Neighbouring samples with that node, as those of
// a ray often are, add up among themselves first. All lanes call this together, `is_sample` or not.
template <int kWidth>
__device__ __forceinline__ void add_over_segment(float* line, int node, int channels, int first,
                                                 const Chunk<kWidth>& to_line, float weight, const Segment& segment,
                                                 bool is_sample) {
  Chunk<kWidth> sum;
  for (int i = 0; i < kWidth; ++i) sum.at[i] = segment_sum<kGroup>(to_line.at[i] * weight, segment);
  const int64_t offset = is_sample && segment.is_head ? int64_t{node} * channels + first : -1;
  add_to_row(line, offset, channels - first, addends(sum), 1.0f);
}

// The same for both nodes around the sample, which all samples of a segment share.
template <int kWidth>
__device__ __forceinline__ void add_to_line(float* gradient, const Tap& w, int channels, int first,
                                            const Chunk<kWidth>& to_line, const Segment& segment, bool is_sample) {
  add_over_segment(gradient, w.near, channels, first, to_line, w.near_weight, segment, is_sample);
  add_over_segment(gradient, w.far, channels, first, to_line, w.far_weight, segment, is_sample);
}

}  // namespace
}  // namespace nerf_ssim
