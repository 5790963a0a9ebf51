// Total variation as a gradient of channel-last voxel grids, and the update that follows it, on raw pointers.
#pragma once

#include <cstdint>

#include "adam.h"
#include "voxels.h"

namespace nerf_ssim {

// A grid [slabs, lines, line]: x, y, and z times channels.
struct VoxelLines {
  int64_t slabs, lines, line, channels;

  int64_t slab() const { return lines * line; }
  int64_t size() const { return slabs * slab(); }
};

// weight * clamp(difference, -1, 1) of each of the six neighbours, along x, y and z.
struct VoxelTv {
  float weights[3];
  bool is_dense;  // or only where there is a gradient already
};

// What is updated: all of one size. `rates`, factors on the step, may be null. `touched` [slabs, lines, runs of a line]
// may be too; where it is 0 the gradient is zero and need not be looked at. The gradient is zero afterwards.
struct VoxelState {
  float* param;
  float* grad;
  float* exp_avg;
  float* exp_avg_sq;
  const float* rates;
  const uint8_t* touched;
};

// Where total variation reads: a run's own values, with those one node along z on either side, and its neighbours.
// Where there is no neighbour, the pointer leads to the run itself: a difference of zero.
struct TvRun {
  const float* here;
  const float* behind;  // smaller x
  const float* ahead;   // larger x
  const float* above;   // smaller y
  const float* below;   // larger y
};

struct VoxelAdamKernels {
  // total[i] = grad[i] + the pull of the neighbours; with `only_touched`, where grad[i] is not zero.
  void (*add_tv)(const VoxelTv&, const TvRun&, int64_t channels, int count, bool only_touched, const float* grad, float* total);
  bool (*has_gradient)(const float* grad, int count);
  // Updates a run of up to kVoxelRun elements from `total`.
  void (*update)(const AdamStep&, bool skip_zero, const VoxelState&, int64_t first, int count, const float* total);
};

const VoxelAdamKernels& voxel_adam_kernels_baseline();
#ifdef NERF_SSIM_HAS_X86_LEVELS
const VoxelAdamKernels& voxel_adam_kernels_avx2();
#endif

void add_voxel_tv(const VoxelTv&, const VoxelLines&, const float* grid, float* grad, int threads);

// Total variation of the old values (if `tv` is not null), update, cleared gradient. No bit depends on `threads`.
void voxel_adam(
    const AdamStep&, bool skip_zero, const VoxelTv* tv, const VoxelLines&, const VoxelState&, int threads);

}  // namespace nerf_ssim
