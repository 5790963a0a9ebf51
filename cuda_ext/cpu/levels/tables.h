// The tables of kernels that the files in this folder fill, one file a processor level, and the standard headers that
// the kernels use. A level's file includes this before it chooses its target: what these headers define inline must
// stay compiled for any CPU, because the linker keeps one copy for all files.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include "../../include/grids.h"
#include "../../include/voxel_adam.h"
#include "../decoder.h"
#include "../siren.h"
#include "../x86_levels.h"

namespace nerf_ssim {

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
  void (*add_tv)(const VoxelTv&, const TvRun&, int64_t channels, int count, bool only_touched, const float* grad,
                 float* total);
  bool (*has_gradient)(const float* grad, int count);
  // Updates a run of up to kVoxelRun elements from `total`.
  void (*update)(const AdamStep&, bool skip_zero, const VoxelState&, int64_t first, int count, const float* total);
};

// One share of the backward pass over orientation m: the samples whose near plane row is in [row_begin, row_end).
// The share alone writes those rows; what falls on row row_end goes to `halo`, one row, added afterwards.
struct VmShare {
  int orientation;
  const int32_t* near_rows;  // [samples]: each sample's near row in the plane
  int64_t row_begin, row_end;
  float* halo;            // [nodes[u], channels]
  float* line_gradient;   // [nodes[w], channels], private to the share
  float* basis_gradient;  // [outputs, channels], private to the share; null without a basis
};

// `begin` and `end` bound the samples.
struct GridKernels {
  void (*vm_density)(const VmGrid&, const float* coords, int64_t begin, int64_t end, float* out);
  void (*vm_features)(const VmGrid&, const float* coords, int64_t begin, int64_t end, float* out);
  // grad_stride: 0 if one gradient a sample serves all channels (density), else the floats from sample to sample.
  void (*vm_backward)(const VmGrid&, const VmShare&, const float* coords, int64_t samples, const float* grad,
                      int64_t grad_stride, float* plane_gradient);
  // The same with the features multiplied by a basis. `scratch`: zeroed floats, as many as the two sizes below say.
  void (*vm_basis)(const VmGrid&, const VmBasis&, const float* coords, int64_t begin, int64_t end, float* out,
                   float* scratch);
  void (*vm_basis_backward)(const VmGrid&, const VmShare&, const VmBasis&, const float* coords, int64_t samples,
                            const float* grad, float* plane_gradient, float* scratch);
  size_t (*basis_forward_floats)(const VmGrid&, int64_t outputs);
  size_t (*basis_backward_floats)(const VmGrid&, int orientation, int64_t outputs);
  void (*cp_density)(const CpGrid&, const float* coords, int64_t begin, int64_t end, float* out);
  void (*cp_features)(const CpGrid&, const float* coords, int64_t begin, int64_t end, float* out);
  void (*cp_backward)(const CpGrid&, const float* coords, int64_t begin, int64_t end, const float* grad,
                      int64_t grad_stride, float* const gradients[3]);
  void (*near_nodes)(const float* coords, int axis, int64_t nodes, int64_t begin, int64_t end, int32_t* out);
};

const VoxelAdamKernels& voxel_adam_kernels_baseline();
const GridKernels& grid_kernels_baseline();
#ifdef NERF_SSIM_HAS_X86_LEVELS
const VoxelAdamKernels& voxel_adam_kernels_avx2();
const GridKernels& grid_kernels_avx2();
const GridKernels& grid_kernels_avx512();
#endif

}  // namespace nerf_ssim
