// Separable filtering of image rows, shared by the forward and the adjoint pass.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "../include/ssim.h"
#include "x86_levels.h"

namespace nerf_ssim::cpu {

constexpr int kUsualWindow = 11;  // its number of taps is known to the compiler, which is faster
constexpr int kTogether = 4;      // neighbouring rows of sums that are made at once
constexpr int kLine = 16;         // floats of a cache line, and the margin of zeros before and after a row
static_assert(kLine >= kLargestWindow - 1, "a window reaches no further than the margin");

typedef float Line __attribute__((vector_size(sizeof(float) * kLine), aligned(sizeof(float))));
typedef float HalfLine __attribute__((vector_size(sizeof(float) * kLine / 2), aligned(sizeof(float))));

// out[i] = sum_k weights[k] * in[i + k]. Sums of four registers of neighbours stay there while the taps go by. Half a
// line each: fewer of their shifted loads cross into the next line.
template <int Taps>
NERF_SSIM_PART void filter_neighbours(const float* in, const float* weights, int any_taps, int64_t n, float* out) {
  constexpr int kHalf = kLine / 2, kRegisters = 4;
  const int taps = Taps ? Taps : any_taps;
  float own[kLargestWindow];  // weights that no store to `out` can change
  for (int k = 0; k < taps; ++k) own[k] = weights[k];
  int64_t i = 0;
  for (; i + kHalf * kRegisters <= n; i += kHalf * kRegisters) {
    HalfLine sums[kRegisters] = {};
#pragma GCC unroll 11
    for (int k = 0; k < taps; ++k)
#pragma GCC unroll 4
      for (int r = 0; r < kRegisters; ++r)
        sums[r] += own[k] * *reinterpret_cast<const HalfLine*>(in + i + r * kHalf + k);
#pragma GCC unroll 4
    for (int r = 0; r < kRegisters; ++r) *reinterpret_cast<HalfLine*>(out + i + r * kHalf) = sums[r];
  }
  for (; i < n; ++i) {
    float sum = 0;
    for (int k = 0; k < taps; ++k) sum += own[k] * in[i + k];
    out[i] = sum;
  }
}

// out[o] = sum_k weights[k] * in[o * stride + k].
NERF_SSIM_PART void filter_along(const float* in, const float* weights, int taps, int64_t stride, int64_t n,
                                 float* out) {
  if (stride == 1) {
    if (taps == kUsualWindow)
      filter_neighbours<kUsualWindow>(in, weights, taps, n, out);
    else
      filter_neighbours<0>(in, weights, taps, n, out);
    return;
  }
  for (int64_t o = 0; o < n; ++o) {
    float sum = 0;
    for (int k = 0; k < taps; ++k) sum += weights[k] * in[o * stride + k];
    out[o] = sum;
  }
}

// out[r * line + i] = sum_k weights[k] * rows[r + k][i] for r < Count. Rows do not fit in the first cache, so each is
// read once for all the sums that it is part of.
template <int Taps, int Count>
NERF_SSIM_PART void combine_rows(const float* const* rows, const float* weights, int any_taps, int64_t n, float* out,
                                 int64_t line) {
  const int taps = Taps ? Taps : any_taps;
  float own[kLargestWindow];
  for (int k = 0; k < taps; ++k) own[k] = weights[k];
  int64_t i = 0;
  for (; i + kLine <= n; i += kLine) {
    Line sums[Count] = {};
#pragma GCC unroll 14  // kUsualWindow + kTogether - 1
    for (int k = 0; k < taps + Count - 1; ++k) {
      const Line row = *reinterpret_cast<const Line*>(rows[k] + i);
#pragma GCC unroll 4
      for (int r = 0; r < Count; ++r)
        if (0 <= k - r && k - r < taps) sums[r] += own[k - r] * row;
    }
#pragma GCC unroll 4
    for (int r = 0; r < Count; ++r) *reinterpret_cast<Line*>(out + r * line + i) = sums[r];
  }
  for (; i < n; ++i)
    for (int r = 0; r < Count; ++r) {
      float sum = 0;
      for (int k = 0; k < taps; ++k) sum += own[k] * rows[r + k][i];
      out[r * line + i] = sum;
    }
}

// out[r * line + i] = sum_k weights[k] * rows[r + k][i] for r < count.
NERF_SSIM_PART void filter_across(const float* const* rows, const float* weights, int taps, int count, int64_t n,
                                  float* out, int64_t line) {
  if (taps == kUsualWindow && count == kTogether) {
    combine_rows<kUsualWindow, kTogether>(rows, weights, taps, n, out, line);
    return;
  }
  for (int r = 0; r < count; ++r) {
    if (taps == kUsualWindow)
      combine_rows<kUsualWindow, 1>(rows + r, weights, taps, n, out + r * line, line);
    else
      combine_rows<0, 1>(rows + r, weights, taps, n, out + r * line, line);
  }
}

// Rows of floats cut from one buffer that a thread keeps. Their content is what the last user left. Each begins at a
// cache line: a register's load that crosses into the next line costs two.
class Scratch {
 public:
  Scratch(int64_t rows, int64_t length) : length_((length + kLine - 1) / kLine * kLine) {
    struct alignas(sizeof(Line)) Chunk {
      float values[kLine];
    };
    static thread_local std::vector<Chunk> buffer;
    const size_t chunks = rows * length_ / kLine;
    if (buffer.size() < chunks) buffer.resize(chunks);
    start_ = buffer.data()->values;
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

}  // namespace nerf_ssim::cpu
