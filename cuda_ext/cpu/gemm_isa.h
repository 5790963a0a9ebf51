// Which instruction sets a file may be compiled for, and which one this machine has.
#pragma once

// GCC on x86-64 compiles a file for a newer level by `#pragma GCC target`; elsewhere only the baseline is built.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define NERF_SSIM_HAS_X86_LEVELS 1
#endif

namespace nerf_ssim {

enum class CpuLevel { kBaseline, kAvx2, kAvx512 };

inline CpuLevel cpu_level() {
#ifdef NERF_SSIM_HAS_X86_LEVELS
  const bool has_v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool has_v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  if (has_v3 && has_v4) return CpuLevel::kAvx512;
  if (has_v3) return CpuLevel::kAvx2;
#endif
  return CpuLevel::kBaseline;
}

}  // namespace nerf_ssim
