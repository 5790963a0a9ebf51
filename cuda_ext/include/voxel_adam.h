// The update of channel-last voxel grids, with total variation before it.
#pragma once

#include <cstdint>

#include "adam_step.h"
#include "launcher.h"
#include "voxels.h"

namespace nerf_ssim {

// weight * clamp(difference, -1, 1) of each of the six neighbours, along x, y and z.
struct VoxelTv {
  float weights[3];
  bool is_dense;  // or only where there is a gradient already
};

// What is updated: all of one size. `rates`, factors on the step, may be null. `touched` [X, Y, runs of a line] may be
// too; where it is 0 the gradient is zero and need not be looked at. The gradient is zero afterwards.
struct VoxelState {
  float* param;
  float* grad;
  float* exp_avg;
  float* exp_avg_sq;
  const float* rates;
  const uint8_t* touched;
};

namespace cpu {

// Total variation of the old values (if `tv` is not null), update, cleared gradient. With `skip_zero`, elements whose
// gradient is zero keep all they have. The factors are those of masked_adam_factors. No bit depends on `threads`.
void voxel_adam(const AdamStep&, bool skip_zero, const VoxelTv* tv, const VoxelShape&, const VoxelState&, int threads);

}  // namespace cpu

extern "C" {

// Adds the pull of the six neighbours to `grad`; total variation reads neighbours, so no value may move before all is
// added: the update is a second launch. `touched` as in VoxelState.
int launch_add_voxel_tv(const VoxelTv&, const VoxelShape&, const float* grid, float* grad, const uint8_t* touched,
                        cudaStream_t);

// The update of all elements of a grid of that shape. With `touched`, elements whose gradient is zero must be skipped.
int launch_voxel_adam(const AdamStep&, bool skip_zero, const VoxelShape&, const VoxelState&, cudaStream_t);
}

}  // namespace nerf_ssim
