// Voxel grids, updated in two passes: total variation reads neighbours, so no value may move before all is added.
#include "voxel_adam.h"

#include "../include/adam_step.h"
#include "chunks.cuh"
#include "launch.h"

namespace nerf_ssim {
namespace {

constexpr int kThreads = 256;

struct VoxelTv {
  int64_t nodes[3];
  int64_t channels;
  float weights[3];
  bool is_dense;
};

__device__ __forceinline__ float pull(float here, float neighbour) {
  const float difference = here - neighbour;
  return difference < -1.0f ? -1.0f : difference > 1.0f ? 1.0f : difference;  // a NaN stays one
}

// One thread owns a chunk of neighbouring channels of a node.
template <int kWidth>
__global__ void __launch_bounds__(kThreads) add_voxel_tv(VoxelTv tv, const float* grid, float* grad) {
  const int64_t chunks = tv.channels / kWidth;
  const int64_t strides[3] = {
      tv.nodes[1] * tv.nodes[2] * tv.channels, tv.nodes[2] * tv.channels, tv.channels};  // to the next node of an axis
  const int64_t total = tv.nodes[0] * tv.nodes[1] * tv.nodes[2] * chunks;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < total; i += int64_t{gridDim.x} * kThreads) {
    const int64_t first = i * kWidth;
    // 1. a chunk without a gradient, in the sparse form, is only read, and only its gradient
    Chunk<kWidth> g = load<kWidth>(grad + first);
    bool is_touched = tv.is_dense;
    for (int k = 0; k < kWidth; ++k) is_touched |= g.at[k] != 0.0f;
    if (!is_touched) continue;
    // 2. the neighbours that exist
    const int64_t node = i / chunks;
    const int64_t place[3] = {node / tv.nodes[2] / tv.nodes[1], node / tv.nodes[2] % tv.nodes[1], node % tv.nodes[2]};
    const Chunk<kWidth> here = load<kWidth>(grid + first);
    Chunk<kWidth> sum{};
#pragma unroll
    for (int axis = 0; axis < 3; ++axis) {
      Chunk<kWidth> along{};
      if (place[axis] > 0) {
        const Chunk<kWidth> other = load<kWidth>(grid + first - strides[axis]);
        for (int k = 0; k < kWidth; ++k) along.at[k] += pull(here.at[k], other.at[k]);
      }
      if (place[axis] + 1 < tv.nodes[axis]) {
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

struct VoxelState {
  float* param;
  float* grad;
  float* exp_avg;
  float* exp_avg_sq;
  const float* rates;  // or null
};

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
}  // namespace nerf_ssim

using namespace nerf_ssim;

extern "C" cudaError_t launch_add_voxel_tv(
    const float* grid, int64_t nodes_x, int64_t nodes_y, int64_t nodes_z, int64_t channels, float weight_x,
    float weight_y, float weight_z, bool is_dense, float* grad, cudaStream_t stream) {
  const int64_t count = nodes_x * nodes_y * nodes_z * channels;
  if (count == 0) return cudaSuccess;
  const VoxelTv tv{{nodes_x, nodes_y, nodes_z}, channels, {weight_x, weight_y, weight_z}, is_dense};
  const bool in_fours = comes_in_fours(channels, grid, grad);
  const auto kernel = in_fours ? add_voxel_tv<4> : add_voxel_tv<1>;
  return NERF_SSIM_LAUNCH(kernel, blocks_for(count / (in_fours ? 4 : 1), kThreads), kThreads, stream, tv, grid, grad);
}

extern "C" cudaError_t launch_voxel_adam(
    float* param, float* grad, float* exp_avg, float* exp_avg_sq, const float* rates, int64_t count, bool skip_zero,
    float beta1, float beta2, float first_weight, float second_weight, float eps, float step_size,
    cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  const AdamStep step{beta1, beta2, first_weight, second_weight, 1.0f, eps, step_size};
  const bool in_fours = comes_in_fours(count, param, grad, exp_avg, exp_avg_sq);
  const auto kernel = in_fours ? voxel_adam<4> : voxel_adam<1>;
  const int64_t chunks = count / (in_fours ? 4 : 1);
  return NERF_SSIM_LAUNCH(
      kernel, blocks_for(chunks, kThreads), kThreads, stream, step, skip_zero, chunks,
      VoxelState{param, grad, exp_avg, exp_avg_sq, rates});
}
