// The level x86-64-v4: AVX-512. Adam has no kernels here: it waits for memory, and wider registers gain nothing.
#include "tables.h"

#ifdef NERF_SSIM_HAS_X86_LEVELS
#pragma GCC target("arch=x86-64-v4,prefer-vector-width=512")
#define NERF_SSIM_ISA avx512
#define NERF_SSIM_LANES 16
#define NERF_SSIM_HAS_FMA true
#include "kernels.h"
#endif
