// Adam's update of a whole tensor: which kernel, and which thread takes which part.
#include "adam.h"

#include <algorithm>

namespace nerf_ssim {
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

void adam_update(
    const AdamStep& step, bool is_masked, int64_t count, float* param, const float* grad, float* exp_avg,
    float* exp_avg_sq, int threads) {
  const auto kernel = is_masked ? adam_kernels().masked_update : adam_kernels().update;
  const int64_t parts = std::clamp<int64_t>(count / kWorthAThread, 1, threads);
  const int64_t size = (count + parts * kAlign - 1) / (parts * kAlign) * kAlign;
#pragma omp parallel for num_threads(static_cast<int>(parts)) schedule(static, 1)
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t begin = std::min(part * size, count);
    const int64_t length = std::min(size, count - begin);
    kernel(step, length, param + begin, grad + begin, exp_avg + begin, exp_avg_sq + begin);
  }
}

}  // namespace nerf_ssim
