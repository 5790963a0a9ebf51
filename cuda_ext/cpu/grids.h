// Factorised grids (VM and CP), channel-last, sampled at packed points: what the bindings call.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../include/grid.h"
#include "x86_levels.h"

namespace nerf_ssim {

// What VM features are multiplied by: weight [outputs][sum of channels], as torch.nn.Linear keeps it.
struct VmBasis {
  const float* weight;
  int64_t outputs;
};

// One share of the backward pass over orientation m: the samples whose near plane row is in [row_begin, row_end).
// The share alone writes those rows; what falls on row row_end goes to `halo`, one row, added afterwards.
struct VmShare {
  int orientation;
  const int32_t* near_rows;  // [samples]: each sample's near row in the plane
  int64_t row_begin, row_end;
  float* halo;           // [nodes[u], channels]
  float* line_gradient;  // [nodes[w], channels], private to the share
  float* basis_gradient;  // [outputs, channels], private to the share; null without a basis
};

// The kernels of one instruction-set level. `begin` and `end` bound the samples.
struct GridKernels {
  void (*vm_density)(const VmGrid&, const float* coords, int64_t begin, int64_t end, float* out);
  void (*vm_features)(const VmGrid&, const float* coords, int64_t begin, int64_t end, float* out);
  // grad_stride: 0 if one gradient a sample serves all channels (density), else the floats from sample to sample.
  void (*vm_backward)(
      const VmGrid&, const VmShare&, const float* coords, int64_t samples, const float* grad, int64_t grad_stride,
      float* plane_gradient);
  // The same with the features multiplied by a basis. `scratch`: zeroed floats, as many as the two sizes below say.
  void (*vm_basis)(
      const VmGrid&, const VmBasis&, const float* coords, int64_t begin, int64_t end, float* out, float* scratch);
  void (*vm_basis_backward)(
      const VmGrid&, const VmShare&, const VmBasis&, const float* coords, int64_t samples, const float* grad,
      float* plane_gradient, float* scratch);
  size_t (*basis_forward_floats)(const VmGrid&, int64_t outputs);
  size_t (*basis_backward_floats)(const VmGrid&, int orientation, int64_t outputs);
  void (*cp_density)(const CpGrid&, const float* coords, int64_t begin, int64_t end, float* out);
  void (*cp_features)(const CpGrid&, const float* coords, int64_t begin, int64_t end, float* out);
  void (*cp_backward)(
      const CpGrid&, const float* coords, int64_t begin, int64_t end, const float* grad, int64_t grad_stride,
      float* const gradients[3]);
  void (*near_nodes)(const float* coords, int axis, int64_t nodes, int64_t begin, int64_t end, int32_t* out);
};

const GridKernels& grid_kernels_baseline();
const GridKernels& grid_kernels_avx2();
const GridKernels& grid_kernels_avx512();

// Density feature: out[s] = sum over orientations and channels of plane * line.
void vm_density(const VmGrid& grid, const float* coords, int64_t samples, float* out, int threads);

// Appearance features: out[s, :] = plane * line of every channel, orientations one after the other.
void vm_features(const VmGrid& grid, const float* coords, int64_t samples, float* out, int threads);

// Gradients of either, added to zeroed arrays. `grad` is [samples] (features false) or [samples, sum of channels].
// The same number of threads gives the same bits.
void vm_backward(
    const VmGrid& grid, const float* coords, int64_t samples, const float* grad, bool features,
    const VmGradient& gradient, int threads);

// Appearance features multiplied by a basis, out[s, :] = weight * features, [samples, outputs]; the features are never
// stored. Gradients: those of the grids are added to zeroed arrays, that of the weight is overwritten; same bits for the
// same number of threads.
void vm_basis(
    const VmGrid& grid, const VmBasis& basis, const float* coords, int64_t samples, float* out, int threads);
void vm_basis_backward(
    const VmGrid& grid, const VmBasis& basis, const float* coords, int64_t samples, const float* grad,
    const VmGradient& gradient, float* weight_gradient, int threads);

void cp_density(const CpGrid& grid, const float* coords, int64_t samples, float* out, int threads);
void cp_features(const CpGrid& grid, const float* coords, int64_t samples, float* out, int threads);
void cp_backward(
    const CpGrid& grid, const float* coords, int64_t samples, const float* grad, bool features,
    const CpGradient& gradient, int threads);

}  // namespace nerf_ssim
