// The colour decoder on raw pointers: what its bindings call, and the table that each instruction set fills.
#pragma once

#include <cstddef>
#include <cstdint>

#include "bf16_units.h"

namespace nerf_ssim {

// Widths of one decoder. The MLP's input is [features, direction, PE(features), PE(direction)].
struct DecoderShape {
  int features;
  int feature_frequencies;
  int view_frequencies;
  int hidden1;
  int hidden2;

  int feature_angles() const { return features * feature_frequencies; }
  int view_angles() const { return 3 * view_frequencies; }
  int inputs() const { return features + 3 + 2 * feature_angles() + 2 * view_angles(); }
};

// Weights in torch.nn.Linear's layout, row-major [outputs][inputs].
struct DecoderWeights {
  const float *w1, *b1, *w2, *b2, *w3, *b3;
};

struct DecoderWeightGradients {
  float *w1, *b1, *w2, *b2, *w3, *b3;
};

// Per-sample arrays, row-major.
struct DecoderForward {
  const float* features;
  const float* directions;
  float* rgb;
};

// As above; `grad_features` is null when nobody asks for it.
struct DecoderBackward {
  const float* features;
  const float* directions;
  const float* rgb;
  const float* grad_rgb;
  float* grad_features;
};

// One instruction set's implementation. Buffers are 64-byte aligned; scratch and gradient sums start as zeros.
struct DecoderKernels {
  const char* name;
  size_t (*packed_floats)(const DecoderShape&);
  size_t (*scratch_floats)(const DecoderShape&);
  size_t (*gradient_floats)(const DecoderShape&);
  int tile;  // samples that one call of forward or backward takes at most
  void (*pack)(const DecoderShape&, const DecoderWeights&, float* packed);
  void (*forward)(const DecoderShape&, const float* packed, const DecoderForward&, int64_t begin, int count,
                  float* scratch);
  void (*backward)(const DecoderShape&, const float* packed, const DecoderBackward&, int64_t begin, int count,
                   float* scratch, float* gradient);
  void (*unpack)(const DecoderShape&, const float* gradient, const DecoderWeightGradients&);
};

const DecoderKernels& decoder_kernels_baseline();
const DecoderKernels& decoder_bf16_kernels_emulated(bool in_tiles);
#ifdef NERF_SSIM_HAS_X86_LEVELS
const DecoderKernels& decoder_kernels_avx2();
const DecoderKernels& decoder_kernels_avx512();
const DecoderKernels& decoder_bf16_kernels(bool has_amx);
#endif

// The kernels for the machine this runs on: in float32, or with products of operands rounded to bfloat16.
const DecoderKernels& decoder_kernels();
const DecoderKernels& decoder_kernels(Bf16Unit unit);

void decoder_forward(const DecoderKernels&, const DecoderShape&, const DecoderWeights&, const DecoderForward&,
                     int64_t samples, int threads);

// Weight gradients are overwritten. Each thread sums its own contiguous share of the tiles and the shares are added
// in thread order, so the result depends on the number of threads but never on timing.
void decoder_backward(const DecoderKernels&, const DecoderShape&, const DecoderWeights&, const DecoderBackward&,
                      const DecoderWeightGradients&, int64_t samples, int threads);

}  // namespace nerf_ssim
