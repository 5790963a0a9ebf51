// Voxel grids, updated in two passes: total variation reads neighbours, so no value may move before all is added.
#include "../include/voxel_adam.h"

#include "chunks.cuh"
#include "launch.h"

namespace nerf_ssim {
namespace {

constexpr int kThreads = 256;

__device__ __forceinline__ float pull(float here, float neighbour) {
  const float difference = here - neighbour;
  return difference < -1.0f ? -1.0f : difference > 1.0f ? 1.0f : difference;  // a NaN stays one
}

// One thread owns a chunk of neighbouring channels of a node.
template <int kWidth>
__global__ void __launch_bounds__(kThreads) add_voxel_tv(
    VoxelTv tv, VoxelShape shape, const float* grid, float* grad) {
  const int64_t nodes_x = shape.nodes[0], nodes_y = shape.nodes[1], nodes_z = shape.nodes[2];
  const int64_t channels = shape.channels, chunks = channels / kWidth;
  const int64_t strides[3] = {nodes_y * nodes_z * channels, nodes_z * channels, channels};  // to an axis's next node
  const int64_t total = nodes_x * nodes_y * nodes_z * chunks;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < total; i += int64_t{gridDim.x} * kThreads) {
    const int64_t first = i * kWidth;
    // 1. a chunk without a gradient, in the sparse form, is only read, and only its gradient
    Chunk<kWidth> g = load<kWidth>(grad + first);
    bool is_touched = tv.is_dense;
    for (int k = 0; k < kWidth; ++k) is_touched |= g.at[k] != 0.0f;
    if (!is_touched) continue;
    // 2. the neighbours that exist
    const int64_t node = i / chunks;
    const int64_t place[3] = {node / nodes_z / nodes_y, node / nodes_z % nodes_y, node % nodes_z};
    const Chunk<kWidth> here = load<kWidth>(grid + first);
    Chunk<kWidth> sum{};
#pragma unroll
    for (int axis = 0; axis < 3; ++axis) {
      Chunk<kWidth> along{};
      if (place[axis] > 0) {
        const Chunk<kWidth> other = load<kWidth>(grid + first - strides[axis]);
        for (int k = 0; k < kWidth; ++k) along.at[k] += pull(here.at[k], other.at[k]);
      }
      if (place[axis] + 1 < shape.nodes[axis]) {
        const Chunk<kWidth> other = load<kWidth>(grid + first + strides[axis]);
        for (int k = 0; k < kWidth; ++k) along.at[k] += pull(here.at[k], other.at[k]);
      }
      for (int k = 0; k < kWidth; ++k) sum.at[k] += tv.weights[axis] * along.at[k];
    }
    // 3. added where it is wanted
    for (int k = 0; k < kWidth; ++k)
      if (tv.is_dense || g.at[k] != 0.0f) g.at[k] += sum.at[k];
    store(grad + first, g);
  }
}

// One thread owns a chunk of neighbouring elements.
template <int kWidth>
__global__ void __launch_bounds__(kThreads) voxel_adam(
    AdamStep step, bool skip_zero, int64_t chunks, VoxelState state) {
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < chunks; i += int64_t{gridDim.x} * kThreads) {
    const int64_t first = i * kWidth;
    // 1. a chunk without any gradient is only read, and only its gradient
    const Chunk<kWidth> g = load<kWidth>(state.grad + first);
    bool is_touched = !skip_zero;
    for (int k = 0; k < kWidth; ++k) is_touched |= g.at[k] != 0.0f;
    if (!is_touched) continue;
    Chunk<kWidth> p = load<kWidth>(state.param + first), m = load<kWidth>(state.exp_avg + first);
    Chunk<kWidth> v = load<kWidth>(state.exp_avg_sq + first);
    for (int k = 0; k < kWidth; ++k) {
      if (skip_zero && g.at[k] == 0.0f) continue;
      // 2. the moments
      m.at[k] = fmaf(step.first_weight, g.at[k], m.at[k] * step.beta1);
      v.at[k] = fmaf(step.second_weight * g.at[k], g.at[k], v.at[k] * step.beta2);
      // 3. the move
      const float rate = state.rates ? state.rates[first + k] : 1.0f;
      p.at[k] -= rate * (step.step_size * m.at[k] / (sqrtf(v.at[k]) + step.eps));
    }
    store(state.param + first, p);
    store(state.exp_avg + first, m);
    store(state.exp_avg_sq + first, v);
    // 4. ready for the next gradient
    store(state.grad + first, Chunk<kWidth>{});
  }
}

}  // namespace

int launch_add_voxel_tv(
    const VoxelTv& tv, const VoxelShape& shape, const float* grid, float* grad, cudaStream_t stream) {
  const int64_t count = shape.nodes[0] * shape.nodes[1] * shape.nodes[2] * shape.channels;
  if (count == 0) return cudaSuccess;
  const bool in_fours = comes_in_fours(shape.channels, grid, grad);
  const auto kernel = in_fours ? add_voxel_tv<4> : add_voxel_tv<1>;
  return NERF_SSIM_LAUNCH(
      kernel, blocks_for(count / (in_fours ? 4 : 1), kThreads), kThreads, stream, tv, shape, grid, grad);
}

int launch_voxel_adam(
    const AdamStep& step, bool skip_zero, int64_t count, const VoxelState& state, cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  const bool in_fours = comes_in_fours(count, state.param, state.grad, state.exp_avg, state.exp_avg_sq);
  const auto kernel = in_fours ? voxel_adam<4> : voxel_adam<1>;
  const int64_t chunks = count / (in_fours ? 4 : 1);
  return NERF_SSIM_LAUNCH(kernel, blocks_for(chunks, kThreads), kThreads, stream, step, skip_zero, chunks, state);
}

}  // namespace nerf_ssim
