// What the colour decoder does on a GPU around its products of matrices: the rows that go into the first one, and the
// gradients of its ReLUs and of its last layer of three outputs.
#pragma once

#include <cstdint>

#include "launcher.h"

namespace nerf_ssim {

// Input rows [features, directions, PE(features), PE(directions)], followed by zeros up to `width`, a multiple of
// kDecoderPadding, so that each row begins where a wide access may.
struct DecoderEncoding {
  int64_t features, feature_frequencies, view_frequencies, width;

  constexpr int64_t inputs() const { return features * (1 + 2 * feature_frequencies) + 3 * (1 + 2 * view_frequencies); }
};

// The last layer and the ReLU before it. `w3` holds the values that the forward pass multiplied with.
struct DecoderLastLayer {
  const float* grad_rgb;  // [samples, 3]
  const float* rgb;       // [samples, 3]
  const float* w3;        // [3, width]
};

// Rows of hidden numbers, float32 or bfloat16, and where the sums over samples go, those of each block of
// kDecoderSamples: [blocks, sums].
struct DecoderHidden {
  int64_t samples, width;
  bool is_bfloat16;
  const void* hidden;  // after the ReLU
  void* grad;          // the gradient of the numbers before it
  float* sums;
};

constexpr int64_t kDecoderPadding = 8;
constexpr int64_t kDecoderSamples = 512;  // of a block that adds up

// Sums of a block: of the products with the three outputs, of the gradient [4, width], and of the outputs [3].
constexpr int64_t last_layer_sums(int64_t width) { return 4 * width + 3; }

extern "C" {

int launch_decoder_inputs(const DecoderEncoding&, const float* features, const float* directions, int64_t samples,
                          bool is_bfloat16, void* inputs, cudaStream_t);

// Gradient of the features [samples, features] from that of the rows.
int launch_decoder_inputs_backward(const DecoderEncoding&, const float* features, const void* grad, int64_t samples,
                                   bool is_bfloat16, float* grad_features, cudaStream_t);

// Writes `grad` and, a block each, the sums for the gradients of w3, of the bias before the ReLU and of b3.
int launch_decoder_last_layer_backward(const DecoderLastLayer&, const DecoderHidden&, cudaStream_t);

// Sets `grad` to zero where the ReLU let nothing through, and writes the sums [blocks, width] of what is left.
int launch_decoder_relu_backward(const DecoderHidden&, cudaStream_t);
}

}  // namespace nerf_ssim
