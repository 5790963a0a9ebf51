// Adam's update, plain and masked. Operations and their rounding are those of cuda_ext/cpu/adam_loop.h.
#include "adam.h"

#include "../include/adam_step.h"
#include "chunks.cuh"
#include "launch.h"

namespace nerf_ssim {
namespace {

constexpr int kThreads = 256;

// One thread owns a chunk of neighbouring elements: it reads and writes each of them once.
template <int kWidth, bool kMasked>
__global__ void __launch_bounds__(kThreads) adam_step(
    AdamStep step, int64_t chunks, float* param, const float* grad, float* exp_avg, float* exp_avg_sq) {
  const int64_t chunk = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (chunk >= chunks) return;
  const int64_t first = chunk * kWidth;
  // 1. a masked chunk without any gradient is only read, and only its gradient
  const Chunk<kWidth> g = load<kWidth>(grad + first);
  bool is_touched = !kMasked;
  for (int i = 0; i < kWidth; ++i) is_touched |= g.at[i] != 0.0f;
  if (!is_touched) return;
  Chunk<kWidth> p = load<kWidth>(param + first);
  Chunk<kWidth> m = load<kWidth>(exp_avg + first), v = load<kWidth>(exp_avg_sq + first);
  for (int i = 0; i < kWidth; ++i) {
    if (kMasked && g.at[i] == 0.0f) continue;
    // 2. the moments
    m.at[i] = kMasked ? fmaf(step.first_weight, g.at[i], m.at[i] * step.beta1)
                      : fmaf(step.first_weight, g.at[i] - m.at[i], m.at[i]);
    v.at[i] = fmaf(step.second_weight * g.at[i], g.at[i], v.at[i] * step.beta2);
    // 3. the move
    p.at[i] -= step.step_size * m.at[i] / (sqrtf(v.at[i]) / step.root_correction + step.eps);
  }
  store(param + first, p);
  store(exp_avg + first, m);
  store(exp_avg_sq + first, v);
}

template <int kWidth>
cudaError_t launch(
    const AdamStep& step, bool is_masked, int64_t count, float* param, const float* grad, float* exp_avg,
    float* exp_avg_sq, cudaStream_t stream) {
  const int64_t chunks = count / kWidth;
  const auto kernel = is_masked ? adam_step<kWidth, true> : adam_step<kWidth, false>;
  return NERF_SSIM_LAUNCH(
      kernel, blocks_for(chunks, kThreads), kThreads, stream, step, chunks, param, grad, exp_avg, exp_avg_sq);
}

}  // namespace
}  // namespace nerf_ssim

extern "C" cudaError_t launch_adam_step(
    float* param, const float* grad, float* exp_avg, float* exp_avg_sq, int64_t count, bool is_masked, float beta1,
    float beta2, float first_weight, float second_weight, float root_correction, float eps, float step_size,
    cudaStream_t stream) {
  using namespace nerf_ssim;
  if (count == 0) return cudaSuccess;
  const AdamStep step{beta1, beta2, first_weight, second_weight, root_correction, eps, step_size};
  const auto launch_chunks = comes_in_fours(count, param, grad, exp_avg, exp_avg_sq) ? launch<4> : launch<1>;
  return launch_chunks(step, is_masked, count, param, grad, exp_avg, exp_avg_sq, stream);
}
