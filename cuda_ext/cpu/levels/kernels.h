// The kernels whose text depends on the width of a register, compiled for the level of the including file, which has
// included tables.h, chosen its target (`#pragma GCC target`) and defined NERF_SSIM_ISA (a namespace: the linker can
// then never hand code for one level to another), NERF_SSIM_LANES (floats in a register) and NERF_SSIM_HAS_FMA.
#pragma once

#include "../decoder_tile.h"
#include "../grids_kernels.h"
#include "../siren_tile.h"

#define NERF_SSIM_JOINED(name, level) name##_##level
#define NERF_SSIM_JOIN(name, level) NERF_SSIM_JOINED(name, level)
#define NERF_SSIM_QUOTED(text) #text
#define NERF_SSIM_QUOTE(text) NERF_SSIM_QUOTED(text)
#define NERF_SSIM_OF_LEVEL(name) NERF_SSIM_JOIN(name, NERF_SSIM_ISA)  // name_avx2 and so on
#define NERF_SSIM_LEVEL_NAME NERF_SSIM_QUOTE(NERF_SSIM_ISA)

namespace nerf_ssim {

const GridKernels& NERF_SSIM_OF_LEVEL(grid_kernels)() {
  static const GridKernels table = NERF_SSIM_ISA::grid_kernels();
  return table;
}

const DecoderKernels& NERF_SSIM_OF_LEVEL(decoder_kernels)() {
  static const DecoderKernels table = NERF_SSIM_ISA::kernels<NERF_SSIM_ISA::Float32Products>(NERF_SSIM_LEVEL_NAME);
  return table;
}

const SirenKernels& NERF_SSIM_OF_LEVEL(siren_kernels)() {
  static const SirenKernels table = NERF_SSIM_ISA::siren_float32_table(NERF_SSIM_LEVEL_NAME);
  return table;
}

}  // namespace nerf_ssim
