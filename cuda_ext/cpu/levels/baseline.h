// What the files of the level of any CPU define.
#pragma once

#define NERF_SSIM_ISA baseline
#define NERF_SSIM_LANES 4
#if defined(__FMA__) || defined(__aarch64__)
#define NERF_SSIM_HAS_FMA true
#else
#define NERF_SSIM_HAS_FMA false
#endif
