// Volume compositing of packed samples, and weighted sums over rays.
#pragma once

#include <cstdint>

#include "launcher.h"

namespace nerf_ssim {

// Samples of ray r are [offsets[r], offsets[r + 1]).
struct RaySamples {
  const float* sigma;
  const float* delta;
  const int64_t* offsets;
  int64_t rays, samples;
  float distance_scale;
};

// What is summed: weights[i] * values[i, :] over the samples of each ray.
struct RaySums {
  const float* weights;      // [samples]
  const float* values;       // [samples, channels]
  const int64_t* ray_index;  // [samples]
  int64_t samples, channels, rays;
};

namespace cpu {

// alpha = 1 - exp(-sigma delta scale); transmittance = product of the earlier (1 - alpha + 1e-10); weight = alpha T.
void composite(const RaySamples&, float* weights, float* opacity, float* transmittance, int threads);

// Gradient with respect to sigma. Upstream gradients that are null count as zero.
void composite_backward(const RaySamples&, const float* transmittance, const float* grad_weights,
                        const float* grad_opacity, const float* grad_transmittance, float* grad_sigma, int threads);

// out [rays, channels], added up in the order of the samples; `out` is zeroed.
void accumulate(const RaySums&, float* out, int threads);
void accumulate_backward(const RaySums&, const float* grad, float* grad_weights, float* grad_values, int threads);

}  // namespace cpu

extern "C" {

// As on the CPU; what would lie outside [0, samples) is left out.
int launch_composite(const RaySamples&, float* weights, float* opacity, float* transmittance, cudaStream_t);
int launch_composite_backward(const RaySamples&, const float* transmittance, const float* grad_weights,
                              const float* grad_opacity, const float* grad_transmittance, float* grad_sigma,
                              cudaStream_t);

// With atomics, `out` being zeroed. A ray outside [0, rays) gets nothing.
int launch_accumulate(const RaySums&, float* out, cudaStream_t);

// The same in a fixed order: `order` lists the samples by ascending ray, `sorted_rays` the rays in that order.
int launch_accumulate_ordered(const RaySums&, const int64_t* sorted_rays, const int64_t* order, float* out,
                              cudaStream_t);

int launch_accumulate_backward(const RaySums&, const float* grad, float* grad_weights, float* grad_values,
                               cudaStream_t);
}

}  // namespace nerf_ssim
