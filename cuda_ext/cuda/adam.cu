// Adam's update. Operations and their rounding are those of cuda_ext/cpu/adam_loop.h.
#include "../include/adam_steps.h"

#include <algorithm>

#include "chunks.cuh"
#include "launch.h"

namespace nerf_ssim {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocksOfATensor =
    1024;  // small tensors leave most of the blocks idle: so there are not too many

// A row of blocks along x owns a tensor, one thread every so many chunks of neighbouring elements: it reads and writes
// each of them once.
template <int kWidth, bool kCorrectsRoot>
__global__ void __launch_bounds__(kThreads) adam_steps(AdamStep step, const __grid_constant__ AdamTensors tensors) {
  const unsigned t = blockIdx.y;
  float *const param = tensors.param[t], *const exp_avg = tensors.exp_avg[t];
  float* const exp_avg_sq = tensors.exp_avg_sq[t];
  const float root_correction = tensors.root_correction[t], step_size = tensors.step_size[t];
  const int64_t chunks = tensors.count[t] / kWidth, stride = int64_t{gridDim.x} * kThreads;
  for (int64_t chunk = int64_t{blockIdx.x} * kThreads + threadIdx.x; chunk < chunks; chunk += stride) {
    const int64_t first = chunk * kWidth;
    const Chunk<kWidth> g = load<kWidth>(tensors.grad[t] + first);
    Chunk<kWidth> p = load<kWidth>(param + first);
    Chunk<kWidth> m = load<kWidth>(exp_avg + first), v = load<kWidth>(exp_avg_sq + first);
    for (int i = 0; i < kWidth; ++i) {
      // 1. the moments
      m.at[i] = kCorrectsRoot ? fmaf(step.first_weight, g.at[i] - m.at[i], m.at[i])
                              : fmaf(step.first_weight, g.at[i], m.at[i] * step.beta1);
      v.at[i] = fmaf(step.second_weight * g.at[i], g.at[i], v.at[i] * step.beta2);
      // 2. the move
      const float root = kCorrectsRoot ? sqrtf(v.at[i]) / root_correction : sqrtf(v.at[i]);
      p.at[i] -= step_size * m.at[i] / (root + step.eps);
    }
    store(param + first, p);
    store(exp_avg + first, m);
    store(exp_avg_sq + first, v);
    if (!kCorrectsRoot) store(tensors.grad[t] + first, Chunk<kWidth>{});
  }
}

bool come_in_fours(const AdamTensors& all) {
  bool in_fours = true;
  for (int64_t t = 0; t < all.tensors; ++t)
    in_fours &= comes_in_fours(all.count[t], all.param[t], all.grad[t], all.exp_avg[t], all.exp_avg_sq[t]);
  return in_fours;
}

}  // namespace

int launch_adam_steps(const AdamStep& shared, bool corrects_root, const AdamTensors& all, cudaStream_t stream) {
  if (all.tensors == 0) return cudaSuccess;
  const bool in_fours = come_in_fours(all);
  const int64_t most = *std::max_element(all.count, all.count + all.tensors) / (in_fours ? 4 : 1);
  if (most == 0) return cudaSuccess;
  const dim3 grid(static_cast<unsigned>(std::min(kMostBlocksOfATensor, ceil_divide(most, kThreads))),
                  static_cast<unsigned>(all.tensors));
  const auto kernel = in_fours ? (corrects_root ? adam_steps<4, true> : adam_steps<4, false>)
                               : (corrects_root ? adam_steps<1, true> : adam_steps<1, false>);
  return NERF_SSIM_LAUNCH(kernel, grid, kThreads, stream, shared, all);
}

}  // namespace nerf_ssim
