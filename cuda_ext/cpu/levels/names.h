// Names of what the files of a level define, made from NERF_SSIM_ISA.
#pragma once

#define NERF_SSIM_JOINED(name, level) name##_##level
#define NERF_SSIM_JOIN(name, level) NERF_SSIM_JOINED(name, level)
#define NERF_SSIM_QUOTED(text) #text
#define NERF_SSIM_QUOTE(text) NERF_SSIM_QUOTED(text)
#define NERF_SSIM_OF_LEVEL(name) NERF_SSIM_JOIN(name, NERF_SSIM_ISA)  // name_avx2 and so on
#define NERF_SSIM_LEVEL_NAME NERF_SSIM_QUOTE(NERF_SSIM_ISA)
