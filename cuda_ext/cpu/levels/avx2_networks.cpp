// The small networks for avx2.cpp's level.
#include "tables.h"

#ifdef NERF_SSIM_HAS_X86_LEVELS
#pragma GCC target("arch=x86-64-v3")
#define NERF_SSIM_ISA avx2
#define NERF_SSIM_LANES 8
#define NERF_SSIM_HAS_FMA true
#include "networks.h"
#endif
