// Run-time choice of the instruction set: one body, compiled for each level, the best one bound when the library loads.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__linux__)
#define NERF_SSIM_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define NERF_SSIM_CLONES
#endif

// For the parts of such a body: they must be compiled with it, at its level.
#define NERF_SSIM_PART static inline __attribute__((always_inline))
