// Factorised grids (VM and CP), channel-last, sampled at packed points. Coordinates are [samples, 3] in [-1, 1],
// corners aligned, zero beyond; axis a has nodes[a] nodes.
#pragma once

#include <cstdint>

#include "launcher.h"

namespace nerf_ssim {

// Orientation m of the VM decomposition pairs the plane over axes (u, v) with the line along the remaining axis w.
constexpr int kAxisU[3] = {0, 0, 1};
constexpr int kAxisV[3] = {1, 2, 2};
constexpr int kAxisW[3] = {2, 1, 0};

struct VmGrid {
  const float* planes[3];  // [nodes[v], nodes[u], channels[m]]: xy, xz, yz
  const float* lines[3];   // [nodes[w], channels[m]]: z, y, x
  int64_t nodes[3];        // along x, y, z
  int64_t channels[3];     // of each orientation
};

struct VmGradient {
  float* planes[3];
  float* lines[3];
};

// What VM features are multiplied by: weight [outputs][sum of channels], as torch.nn.Linear keeps it.
struct VmBasis {
  const float* weight;
  int64_t outputs;
};

struct CpGrid {
  const float* lines[3];  // along x, y, z: [nodes[axis], channels]
  int64_t nodes[3];
  int64_t channels;
};

struct CpGradient {
  float* lines[3];
};

namespace cpu {

// Density feature: out[s] = sum over orientations and channels of plane * line.
void vm_density(const VmGrid&, const float* coords, int64_t samples, float* out, int threads);

// Appearance features: out[s, :] = plane * line of every channel, orientations one after the other.
void vm_features(const VmGrid&, const float* coords, int64_t samples, float* out, int threads);

// Gradients of either, added to zeroed arrays. `grad` is [samples] (is_features false) or [samples, sum of channels].
// The same number of threads gives the same bits.
void vm_backward(const VmGrid&, const float* coords, int64_t samples, const float* grad, bool is_features,
                 const VmGradient&, int threads);

// Appearance features multiplied by a basis, out[s, :] = weight * features, [samples, outputs]; the features are never
// stored. Gradients: those of the grids are added to zeroed arrays, that of the weight is overwritten; same bits for
// the same number of threads.
void vm_basis(const VmGrid&, const VmBasis&, const float* coords, int64_t samples, float* out, int threads);
void vm_basis_backward(const VmGrid&, const VmBasis&, const float* coords, int64_t samples, const float* grad,
                       const VmGradient&, float* weight_gradient, int threads);

// The same of the products of three lines.
void cp_density(const CpGrid&, const float* coords, int64_t samples, float* out, int threads);
void cp_features(const CpGrid&, const float* coords, int64_t samples, float* out, int threads);
void cp_backward(const CpGrid&, const float* coords, int64_t samples, const float* grad, bool is_features,
                 const CpGradient&, int threads);

}  // namespace cpu

extern "C" {

// The features or their sum, the density.
int launch_vm(const VmGrid&, const float* coords, int64_t samples, bool is_features, float* out, cudaStream_t);
int launch_cp(const CpGrid&, const float* coords, int64_t samples, bool is_features, float* out, cudaStream_t);

// Gradients of either, added with atomics to zeroed arrays; `grad` has the shape of `out` above.
int launch_vm_backward(const VmGrid&, const float* coords, int64_t samples, const float* grad, bool is_features,
                       const VmGradient&, cudaStream_t);
int launch_cp_backward(const CpGrid&, const float* coords, int64_t samples, const float* grad, bool is_features,
                       const CpGradient&, cudaStream_t);

// The backward passes in a fixed order, without atomics: every node gathers what the samples around it give. For each
// plane and line the caller finds the samples' cells, sorts the samples by cell and keeps their order; `starts` says
// where each cell's samples begin in `order`.
//
// cells[s] = the cell of sample s along axis_v and axis_u, [nodes_v + 2, nodes_u + 2] of them because a sample may lie
// before the first node and beyond the last. axis_u = -1: along axis_v alone, nodes_v + 2 cells.
int launch_grid_cells(const float* coords, int64_t samples, int64_t axis_v, int64_t nodes_v, int64_t axis_u,
                      int64_t nodes_u, int64_t* cells, cudaStream_t);

// Gradients of the plane and of the line of an orientation, and of the line along an axis. `grad` points to the first
// channel of the orientation in its first sample and has `grad_stride` floats a sample; 0: one gradient a sample for
// all channels. `order` [samples], `starts` [cells + 1].
int launch_gather_vm_plane(const VmGrid&, int64_t orientation, const float* coords, const float* grad,
                           int64_t grad_stride, const int64_t* order, const int64_t* starts, float* gradient,
                           cudaStream_t);
int launch_gather_vm_line(const VmGrid&, int64_t orientation, const float* coords, const float* grad,
                          int64_t grad_stride, const int64_t* order, const int64_t* starts, float* gradient,
                          cudaStream_t);
int launch_gather_cp_line(const CpGrid&, int64_t axis, const float* coords, const float* grad, int64_t grad_stride,
                          const int64_t* order, const int64_t* starts, float* gradient, cudaStream_t);
}

}  // namespace nerf_ssim
