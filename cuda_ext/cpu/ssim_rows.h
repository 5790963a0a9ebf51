// Separable filtering of image rows, shared by the forward and the adjoint pass.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "x86_levels.h"

namespace nerf_ssim {

// Sums of kBlock neighbouring outputs stay in registers while the taps go by, for any number of taps.
constexpr int kLanes = 16, kRegisters = 2, kBlock = kLanes * kRegisters;
typedef float Lanes __attribute__((vector_size(sizeof(float) * kLanes), aligned(sizeof(float))));

// out[i] = sum_k weights[k] * row_at(k)[i]. `Taps` of 0 takes any number of them; one that the compiler knows is faster.
template <int Taps, class RowAt>
NERF_SSIM_PART void combine_rows(const RowAt& row_at, const float* weights, int any_taps, int64_t n, float* out) {
  const int taps = Taps ? Taps : any_taps;
  int64_t i = 0;
  for (; i + kBlock <= n; i += kBlock) {
    Lanes sums[kRegisters] = {};
#pragma GCC unroll 11
    for (int k = 0; k < taps; ++k)
#pragma GCC unroll 4
      for (int r = 0; r < kRegisters; ++r)
        sums[r] += weights[k] * *reinterpret_cast<const Lanes*>(row_at(k) + i + r * kLanes);
#pragma GCC unroll 4
    for (int r = 0; r < kRegisters; ++r) *reinterpret_cast<Lanes*>(out + i + r * kLanes) = sums[r];
  }
  for (; i < n; ++i) {
    float sum = 0;
    for (int k = 0; k < taps; ++k) sum += weights[k] * row_at(k)[i];
    out[i] = sum;
  }
}

constexpr int kUsualWindow = 11;

// out[o] = sum_k weights[k] * in[o * stride + k].
NERF_SSIM_PART void filter_along(const float* in, const float* weights, int taps, int64_t stride, int64_t n, float* out) {
  if (stride == 1) {
    const auto shifted = [in](int k) { return in + k; };
    if (taps == kUsualWindow) combine_rows<kUsualWindow>(shifted, weights, taps, n, out);
    else combine_rows<0>(shifted, weights, taps, n, out);
    return;
  }
  for (int64_t o = 0; o < n; ++o) {
    float sum = 0;
    for (int k = 0; k < taps; ++k) sum += weights[k] * in[o * stride + k];
    out[o] = sum;
  }
}

// out[i] = sum_k weights[k] * rows[k][i].
NERF_SSIM_PART void filter_across(const float* const* rows, const float* weights, int taps, int64_t n, float* out) {
  const auto row_at = [rows](int k) { return rows[k]; };
  if (taps == kUsualWindow) combine_rows<kUsualWindow>(row_at, weights, taps, n, out);
  else combine_rows<0>(row_at, weights, taps, n, out);
}

// Rows of floats cut from one buffer that a thread keeps. Their content is what the last user left.
class Scratch {
 public:
  Scratch(int64_t rows, int64_t length) : length_((length + kBlock - 1) / kBlock * kBlock) {
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
