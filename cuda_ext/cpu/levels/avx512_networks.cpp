// The small networks for avx512.cpp's level.
#include "tables.h"

#ifdef NERF_SSIM_HAS_X86_LEVELS
#pragma GCC target("arch=x86-64-v4,prefer-vector-width=512")
#define NERF_SSIM_ISA avx512
#define NERF_SSIM_LANES 16
#define NERF_SSIM_HAS_FMA true
#include "networks.h"
#endif
