// The decoder's kernels for registers of NERF_SSIM_LANES floats, whatever the processor has: the compiler splits wider
// ones.
#include "../../../cuda_ext/cpu/levels/tables.h"

#define NERF_SSIM_JOINED(name, lanes) name##_##lanes
#define NERF_SSIM_JOIN(name, lanes) NERF_SSIM_JOINED(name, lanes)
#define NERF_SSIM_ISA NERF_SSIM_JOIN(lanes, NERF_SSIM_LANES)
#ifdef __FMA__
#define NERF_SSIM_HAS_FMA true
#else
#define NERF_SSIM_HAS_FMA false
#endif
#include "../../../cuda_ext/cpu/decoder_tile.h"

const nerf_ssim::DecoderKernels* NERF_SSIM_JOIN(tables, NERF_SSIM_LANES)() {
  using namespace nerf_ssim::NERF_SSIM_ISA;
  static const nerf_ssim::DecoderKernels all[] = {
      kernels<Float32Products>("float32"),
      kernels<Bf16RowProducts<VectorEngine>>("bf16 in registers"),
      kernels<Bf16RowProducts<TileEngine<EmulatedTiles>>>("bf16 in tiles"),
  };
  return all;
}
