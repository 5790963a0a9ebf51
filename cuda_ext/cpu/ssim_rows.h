// Separable filtering of image rows, shared by the forward and the adjoint pass.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "x86_levels.h"

namespace nerf_ssim {

// Sums of kBlock neighbouring outputs stay in registers while the taps go by, for any number of taps.
constexpr int kLanes = 8, kRegisters = 4, kBlock = kLanes * kRegisters;
typedef float Lanes __attribute__((vector_size(sizeof(float) * kLanes), aligned(sizeof(float))));

// out[o] = sum_k weights[k] * in[o * stride + k]. At stride 1, in and out are read and written up to a whole block.
NERF_SSIM_PART void filter_along(const float* in, const float* weights, int taps, int64_t stride, int64_t n, float* out) {
  if (stride == 1) {
    for (int64_t o = 0; o < n; o += kBlock) {
      Lanes sums[kRegisters] = {};
      for (int k = 0; k < taps; ++k)
#pragma GCC unroll 4
        for (int r = 0; r < kRegisters; ++r)
          sums[r] += weights[k] * *reinterpret_cast<const Lanes*>(in + o + k + r * kLanes);
#pragma GCC unroll 4
      for (int r = 0; r < kRegisters; ++r) *reinterpret_cast<Lanes*>(out + o + r * kLanes) = sums[r];
    }
    return;
  }
  for (int64_t o = 0; o < n; ++o) {
    float sum = 0;
    for (int k = 0; k < taps; ++k) sum += weights[k] * in[o * stride + k];
    out[o] = sum;
  }
}

// out[i] = sum_k weights[k] * rows[k][i]; all are read and written up to a whole block.
NERF_SSIM_PART void filter_across(const float* const* rows, const float* weights, int taps, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += kBlock) {
    Lanes sums[kRegisters] = {};
    for (int k = 0; k < taps; ++k)
#pragma GCC unroll 4
      for (int r = 0; r < kRegisters; ++r)
        sums[r] += weights[k] * *reinterpret_cast<const Lanes*>(rows[k] + i + r * kLanes);
#pragma GCC unroll 4
    for (int r = 0; r < kRegisters; ++r) *reinterpret_cast<Lanes*>(out + i + r * kLanes) = sums[r];
  }
}

// Rows of floats cut from one buffer that a thread keeps, with room after each for a block. Their content is what the
// last user left.
class Scratch {
 public:
  Scratch(int64_t rows, int64_t length) : length_((length + kBlock - 1) / kBlock * kBlock + kBlock) {
    static thread_local std::vector<float> buffer;
    if (buffer.size() < static_cast<size_t>(rows * length_)) buffer.resize(rows * length_);
    start_ = buffer.data();
  }
  float* row(int64_t index) const { return start_ + index * length_; }
  float* zeros(int64_t index, int64_t count) const {
    std::memset(row(index), 0, count * length_ * sizeof(float));
    return row(index);
  }
  int64_t length() const { return length_; }

 private:
  int64_t length_;
  float* start_;
};

}  // namespace nerf_ssim
