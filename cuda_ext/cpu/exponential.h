// Exponentials of single floats whose loops vectorise: no branches, no library calls.
#pragma once

#include <cstdint>
#include <cstring>

#include "x86_levels.h"

namespace nerf_ssim {

// e^y = 2^n e^r for -87 <= y <= 80 (beyond: the nearer of the two; a NaN stays one).
struct SplitExponential {
  float power;  // 2^n
  float rest;   // e^r - 1, |r| <= ln 2 / 2
};

NERF_SSIM_PART SplitExponential split_exponential(float y) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to the nearest integer
  constexpr int32_t kRoundBits = 0x4B400000;
  y = y < -87.0f ? -87.0f : y;
  y = y > 80.0f ? 80.0f : y;
  const float shifted = y * 1.44269504088896341f + kRound;
  const float n = shifted - kRound;
  const float r = (y - n * 0.693359375f) - n * -2.12194440e-4f;
  float series = 1.0f / 5040;
  series = series * r + 1.0f / 720;
  series = series * r + 1.0f / 120;
  series = series * r + 1.0f / 24;
  series = series * r + 1.0f / 6;
  series = series * r + 0.5f;
  const float rest = series * (r * r) + r;
  // n from its bits: a NaN, which has no integer, goes through as any other number.
  int32_t exponent;
  std::memcpy(&exponent, &shifted, sizeof(exponent));
  exponent = (exponent - kRoundBits + 127) << 23;
  float power;
  std::memcpy(&power, &exponent, sizeof(power));
  return {power, rest};
}

NERF_SSIM_PART float exponential(float y) {
  const SplitExponential e = split_exponential(y);
  return e.power + e.power * e.rest;
}

// 1 - exp(-x) to 2 ulp: small results keep their digits.
NERF_SSIM_PART float one_minus_exp(float x) {
  const SplitExponential e = split_exponential(-x);
  return (1.0f - e.power) - e.power * e.rest;
}

}  // namespace nerf_ssim
