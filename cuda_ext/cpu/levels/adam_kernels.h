// Adam's kernels, compiled for the level of the including file like those of kernels.h, which comes first. Their
// operations round one by one, as PyTorch's do, so that the compiler may not fuse multiplications and additions here.
// It may divide where the quotient is thrown away: the masked form takes half as long so.
#pragma once

#ifdef __GNUC__
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off", "no-trapping-math")
#endif

#include "../voxel_adam_loop.h"

namespace nerf_ssim {

const VoxelAdamKernels& NERF_SSIM_OF_LEVEL(voxel_adam_kernels)() {
  static const VoxelAdamKernels table{NERF_SSIM_ISA::add_tv, NERF_SSIM_ISA::has_gradient,
                                      NERF_SSIM_ISA::update_elements};
  return table;
}

}  // namespace nerf_ssim

#ifdef __GNUC__
#pragma GCC pop_options
#endif
