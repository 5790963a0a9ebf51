// Correctly rounded square roots of an array. Spelled out because compilers vectorise sqrtf only where it need not set
// errno, a flag of the whole build.
#pragma once

#include <cmath>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace nerf_ssim {

// `kCount` is a multiple of 4.
template <int kCount>
static inline __attribute__((always_inline)) void square_roots(float (&values)[kCount]) {
#if defined(__SSE__)
  static_assert(kCount % 4 == 0);
  for (int i = 0; i < kCount; i += 4) _mm_storeu_ps(values + i, _mm_sqrt_ps(_mm_loadu_ps(values + i)));
#else
  for (int i = 0; i < kCount; ++i) values[i] = std::sqrt(values[i]);
#endif
}

}  // namespace nerf_ssim
