// The sine network on raw pointers: what its bindings call, and the table that each instruction set fills.
#pragma once

#include <cstddef>
#include <cstdint>

#include "bf16_units.h"

namespace nerf_ssim {

constexpr int kMostSirenLayers = 32;  // hidden ones; the bindings refuse more

// widths[0] inputs, widths[1 .. hidden] of the layers with a sine, widths[hidden + 1] outputs.
struct SirenShape {
  int hidden;
  int widths[kMostSirenLayers + 2];
  float omega;

  int inputs() const { return widths[0]; }
  int outputs() const { return widths[hidden + 1]; }
};

// Weights in torch.nn.Linear's layout, row-major [outputs][inputs], and biases, one of each per layer, the last linear.
struct SirenWeights {
  const float* weight[kMostSirenLayers + 1];
  const float* bias[kMostSirenLayers + 1];
};

struct SirenWeightGradients {
  float* weight[kMostSirenLayers + 1];
  float* bias[kMostSirenLayers + 1];
};

// One instruction set's implementation. Buffers are 64-byte aligned; gradient sums start as zeros.
struct SirenKernels {
  const char* name;
  size_t (*packed_floats)(const SirenShape&);
  size_t (*scratch_floats)(const SirenShape&);  // a tile's activations
  size_t (*operand_floats)(const SirenShape&);  // what products in bfloat16 terms need beside them
  size_t (*gradient_floats)(const SirenShape&);
  int tile;  // points that one call takes at most
  void (*pack)(const SirenShape&, const SirenWeights&, float* packed);
  // inputs [count][inputs] -> outputs [count][outputs]
  void (*forward)(const SirenShape&, const float* packed, const float* inputs, int count, float* outputs,
                  float* scratch, float* operands);
  // Adds to `gradient`; the activations are those that `forward` of the same tile has just left in `scratch`.
  void (*backward)(const SirenShape&, const float* packed, const float* grad_outputs, int count, float* scratch,
                   float* gradient, float* operands);
  void (*unpack)(const SirenShape&, const float* gradient, const SirenWeightGradients&);
};

const SirenKernels& siren_kernels_baseline();
const SirenKernels& siren_split_kernels_emulated(int forward_terms, bool in_tiles);
#ifdef NERF_SSIM_HAS_X86_LEVELS
const SirenKernels& siren_kernels_avx2();
const SirenKernels& siren_kernels_avx512();
const SirenKernels& siren_split_kernels(int forward_terms, bool has_amx);
#endif

// The kernels for the machine this runs on: in float32, or in products of bfloat16 terms, two of them in gradients and
// `forward_terms` (2 or 3) in the forward pass.
const SirenKernels& siren_kernels();
const SirenKernels& siren_kernels(int forward_terms, Bf16Unit unit);

// Floats that hold the activations of so many points: a scratch for every tile.
size_t siren_activation_floats(const SirenKernels&, const SirenShape&, int64_t points);

// `activations`, where given, keeps every tile's for `siren_backward`; 64-byte aligned, of any content.
void siren_forward(const SirenKernels&, const SirenShape&, const SirenWeights&, const float* inputs, float* outputs,
                   float* activations, int64_t points, int threads);

// Gradients are overwritten. `activations` are what `siren_forward` has kept, and are used up; where there are none
// they are computed again, to the same bits. Each thread sums its own contiguous share of the tiles and the shares are
// added in thread order, so the result depends on the number of threads but never on timing.
void siren_backward(const SirenKernels&, const SirenShape&, const SirenWeights&, const float* inputs,
                    const float* grad_outputs, float* activations, const SirenWeightGradients&, int64_t points,
                    int threads);

// Outputs, mean squared error to `target` [points][outputs] in double precision (returned), and its gradients.
double siren_fit(const SirenKernels&, const SirenShape&, const SirenWeights&, const float* inputs, const double* target,
                 float* outputs, const SirenWeightGradients&, int64_t points, int threads);

}  // namespace nerf_ssim
