// Which x86-64 level this CPU has, and the two ways to have code for each. Kernels whose text depends on the width of a
// register are compiled once a level, each level in its own file of levels/, and a table is chosen by x86_level() at
// run time. Plain loops that compilers vectorise by themselves are marked NERF_SSIM_CLONES instead. On other processors
// and compilers only the baseline exists.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(NERF_SSIM_HAS_X86_LEVELS)
#define NERF_SSIM_HAS_X86_LEVELS 1
#endif

// Before a function: its body is compiled for each level, the best one is bound when the library loads.
#if defined(NERF_SSIM_HAS_X86_LEVELS) && defined(__linux__)
#define NERF_SSIM_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define NERF_SSIM_CLONES
#endif

// Before the parts of such a body: they must be compiled with it, at its level.
#define NERF_SSIM_PART static inline __attribute__((always_inline))

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
