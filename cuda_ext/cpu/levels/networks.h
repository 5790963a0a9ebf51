// The small networks' kernels in float32, compiled like those of kernels.h, in a file of their own a level: each of the
// two takes a compiler about as long.
#pragma once

#include "../decoder_tile.h"
#include "../siren_tile.h"
#include "names.h"

namespace nerf_ssim {

const DecoderKernels& NERF_SSIM_OF_LEVEL(decoder_kernels)() {
  static const DecoderKernels table = NERF_SSIM_ISA::kernels<NERF_SSIM_ISA::Float32Products>(NERF_SSIM_LEVEL_NAME);
  return table;
}

const SirenKernels& NERF_SSIM_OF_LEVEL(siren_kernels)() {
  static const SirenKernels table = NERF_SSIM_ISA::siren_float32_table(NERF_SSIM_LEVEL_NAME);
  return table;
}

}  // namespace nerf_ssim
