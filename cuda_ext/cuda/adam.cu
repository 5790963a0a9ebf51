// Adam's update. Operations and their rounding are those of cuda_ext/cpu/adam_loop.h.
#include "../include/adam.h"

#include "chunks.cuh"
#include "launch.h"

namespace nerf_ssim {
namespace {

constexpr int kThreads = 256;

// One thread owns a chunk of neighbouring elements: it reads and writes each of them once.
template <int kWidth>
__global__ void __launch_bounds__(kThreads) adam_step(AdamStep step, int64_t chunks, AdamState state) {
  const int64_t chunk = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (chunk >= chunks) return;
  const int64_t first = chunk * kWidth;
  const Chunk<kWidth> g = load<kWidth>(state.grad + first);
  Chunk<kWidth> p = load<kWidth>(state.param + first);
  Chunk<kWidth> m = load<kWidth>(state.exp_avg + first), v = load<kWidth>(state.exp_avg_sq + first);
  for (int i = 0; i < kWidth; ++i) {
    // 1. the moments
    m.at[i] = fmaf(step.first_weight, g.at[i] - m.at[i], m.at[i]);
    v.at[i] = fmaf(step.second_weight * g.at[i], g.at[i], v.at[i] * step.beta2);
    // 2. the move
    p.at[i] -= step.step_size * m.at[i] / (sqrtf(v.at[i]) / step.root_correction + step.eps);
  }
  store(state.param + first, p);
  store(state.exp_avg + first, m);
  store(state.exp_avg_sq + first, v);
}

}  // namespace

int launch_adam_step(const AdamStep& step, const AdamState& state, cudaStream_t stream) {
  if (state.count == 0) return cudaSuccess;
  const bool in_fours = comes_in_fours(state.count, state.param, state.grad, state.exp_avg, state.exp_avg_sq);
  const int64_t chunks = state.count / (in_fours ? 4 : 1);
  const auto kernel = in_fours ? adam_step<4> : adam_step<1>;
  return NERF_SSIM_LAUNCH(kernel, blocks_for(chunks, kThreads), kThreads, stream, step, chunks, state);
}

}  // namespace nerf_ssim
