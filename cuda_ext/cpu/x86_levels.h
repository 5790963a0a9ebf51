// Which x86-64 level this CPU has. Kernels are compiled once a level, each level in its own translation unit, and the
// level is chosen at run time; on other processors only the baseline exists.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(NERF_SSIM_HAS_X86_LEVELS)
#define NERF_SSIM_HAS_X86_LEVELS 1
#endif

namespace nerf_ssim {

enum class X86Level { baseline, avx2, avx512 };

inline X86Level x86_level() {
#ifdef NERF_SSIM_HAS_X86_LEVELS
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return X86Level::avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
    return X86Level::avx2;
#endif
  return X86Level::baseline;
}

}  // namespace nerf_ssim
