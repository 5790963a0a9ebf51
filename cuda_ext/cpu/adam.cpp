// Adam's update of a whole tensor: which kernel, and which thread takes which part.
#include "../include/adam.h"

#include <algorithm>

#include "levels/tables.h"

namespace nerf_ssim::cpu {
namespace {

const AdamKernels& adam_kernels() {
#ifdef NERF_SSIM_HAS_X86_LEVELS
  if (x86_level() != X86Level::baseline) return adam_kernels_avx2();
#endif
  return adam_kernels_baseline();
}

constexpr int64_t kWorthAThread = 16384;  // elements; fewer cost less than waking a thread
constexpr int64_t kAlign = 64;            // parts start at whole cache lines

}  // namespace

void adam_step(const AdamStep& step, const AdamState& state, int threads) {
  const int64_t parts = std::clamp<int64_t>(state.count / kWorthAThread, 1, threads);
  const int64_t size = (state.count + parts * kAlign - 1) / (parts * kAlign) * kAlign;
#pragma omp parallel for num_threads(static_cast<int>(parts)) schedule(static, 1)
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t begin = std::min(part * size, state.count);
    const int64_t length = std::min(size, state.count - begin);
    adam_kernels().update(
        step, {state.param + begin, state.grad + begin, state.exp_avg + begin, state.exp_avg_sq + begin, length});
  }
}

}  // namespace nerf_ssim::cpu
