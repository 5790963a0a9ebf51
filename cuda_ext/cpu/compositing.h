// Volume compositing of packed samples, and weighted sums over rays.
#pragma once

#include <cstdint>

namespace nerf_ssim {

// Samples of ray r are [offsets[r], offsets[r + 1]).
struct RaySamples {
  const float* sigma;
  const float* delta;
  const int64_t* offsets;
  int64_t rays;
  float distance_scale;
};

// alpha = 1 - exp(-sigma delta scale); transmittance = product of the earlier (1 - alpha + 1e-10); weight = alpha T.
void composite(const RaySamples& samples, float* weights, float* opacity, float* transmittance, int threads);

// Gradient with respect to sigma. Upstream gradients that are null count as zero.
void composite_backward(
    const RaySamples& samples, const float* transmittance, const float* grad_weights, const float* grad_opacity,
    const float* grad_transmittance, float* grad_sigma, int threads);

// out[ray_index[i], :] += weights[i] * values[i, :], in the order of the samples; `out` is zeroed.
void accumulate(
    const float* weights, const float* values, const int64_t* ray_index, int64_t samples, int64_t channels, float* out,
    int threads);

void accumulate_backward(
    const float* grad, const float* weights, const float* values, const int64_t* ray_index, int64_t samples,
    int64_t channels, float* grad_weights, float* grad_values, int threads);

}  // namespace nerf_ssim
