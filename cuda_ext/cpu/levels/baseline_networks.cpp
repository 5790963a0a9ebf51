// The small networks for any CPU, and the emulations of bfloat16 units, which run on all of them.
#include "tables.h"

#include "baseline.h"
#include "networks.h"

namespace nerf_ssim {

using namespace baseline;

const DecoderKernels& decoder_bf16_kernels_emulated(bool in_tiles) {
  static const DecoderKernels plain = kernels<Bf16RowProducts<VectorEngine>>("bf16, emulated");
  static const DecoderKernels tiled = kernels<Bf16RowProducts<TileEngine<EmulatedTiles>>>("bf16, emulated tiles");
  return in_tiles ? tiled : plain;
}

const SirenKernels& siren_split_kernels_emulated(int forward_terms, bool in_tiles) {
  return in_tiles ? siren_split_table<TileEngine<EmulatedTiles>>(forward_terms, "bf16 terms, emulated tiles")
                  : siren_split_table<VectorEngine>(forward_terms, "bf16 terms, emulated");
}

}  // namespace nerf_ssim
