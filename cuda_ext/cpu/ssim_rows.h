// Separable filtering of image rows with windows of K taps, shared by the forward and the adjoint pass.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "clones.h"

namespace nerf_ssim {

// One body for each window size, so that the loop over taps is unrolled.
#define NERF_SSIM_FOR_TAPS(taps, CALL) \
  switch (taps) {                      \
    case 1: CALL(1); break;            \
    case 2: CALL(2); break;            \
    case 3: CALL(3); break;            \
    case 4: CALL(4); break;            \
    case 5: CALL(5); break;            \
    case 6: CALL(6); break;            \
    case 7: CALL(7); break;            \
    case 8: CALL(8); break;            \
    case 9: CALL(9); break;            \
    case 10: CALL(10); break;          \
    default: CALL(11); break;          \
  }

// out[o] = sum_k weights[k] * in[o * stride + k]
template <int K>
NERF_SSIM_PART void filter_along(const float* __restrict in, const float* weights, int64_t stride, int64_t n,
                                 float* __restrict out) {
  float w[K];
  for (int k = 0; k < K; ++k) w[k] = weights[k];
  if (stride == 1) {
#pragma omp simd
    for (int64_t o = 0; o < n; ++o) {
      float sum = 0;
      for (int k = 0; k < K; ++k) sum += w[k] * in[o + k];
      out[o] = sum;
    }
  } else {
    for (int64_t o = 0; o < n; ++o) {
      float sum = 0;
      for (int k = 0; k < K; ++k) sum += w[k] * in[o * stride + k];
      out[o] = sum;
    }
  }
}

// out[i] = sum_k weights[k] * rows[k][i]
template <int K>
NERF_SSIM_PART void filter_across(const float* const* rows, const float* weights, int64_t n, float* __restrict out) {
  float w[K];
  const float* r[K];
  for (int k = 0; k < K; ++k) w[k] = weights[k], r[k] = rows[k];
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    float sum = 0;
    for (int k = 0; k < K; ++k) sum += w[k] * r[k][i];
    out[i] = sum;
  }
}

// Rows of floats cut from one buffer that a thread keeps; each starts as zeros.
class Scratch {
 public:
  Scratch(int64_t rows, int64_t length) : length_((length + 15) / 16 * 16 + 16) {
    static thread_local std::vector<float> buffer;
    buffer.assign(rows * length_, 0.f);
    start_ = buffer.data();
  }
  float* row(int64_t index) const { return start_ + index * length_; }
  int64_t length() const { return length_; }

 private:
  int64_t length_;
  float* start_;
};

}  // namespace nerf_ssim
