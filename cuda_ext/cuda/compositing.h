// Volume compositing of packed samples on the GPU, and weighted sums over rays.
#pragma once

#include <cstdint>

#include "../simulator/gpu.h"

// Samples of ray r are [ray_offsets[r], ray_offsets[r + 1]); what would lie outside [0, samples) is left out.
// alpha = 1 - exp(-sigma delta scale); transmittance = product of the earlier (1 - alpha + 1e-10); weight = alpha T.
extern "C" cudaError_t launch_composite(
    const float* sigma, const float* delta, const int64_t* ray_offsets, int64_t rays, int64_t samples,
    float distance_scale, float* weights, float* opacity, float* transmittance, cudaStream_t stream);

// Gradient with respect to sigma. Upstream gradients that are null count as zero.
extern "C" cudaError_t launch_composite_backward(
    const float* sigma, const float* delta, const int64_t* ray_offsets, int64_t rays, int64_t samples,
    float distance_scale, const float* transmittance, const float* grad_weights, const float* grad_opacity,
    const float* grad_transmittance, float* grad_sigma, cudaStream_t stream);

// out[ray_index[i], :] += weights[i] * values[i, :], with atomics, `out` being zeroed. A ray outside [0, rays) gets
// nothing.
extern "C" cudaError_t launch_accumulate(
    const float* weights, const float* values, const int64_t* ray_index, int64_t samples, int64_t channels,
    int64_t rays, float* out, cudaStream_t stream);

// The same in a fixed order: `order` lists the samples by ascending ray, `sorted_rays` the rays in that order.
extern "C" cudaError_t launch_accumulate_ordered(
    const float* weights, const float* values, const int64_t* sorted_rays, const int64_t* order, int64_t samples,
    int64_t channels, int64_t rays, float* out, cudaStream_t stream);

extern "C" cudaError_t launch_accumulate_backward(
    const float* grad, const float* weights, const float* values, const int64_t* ray_index, int64_t samples,
    int64_t channels, int64_t rays, float* grad_weights, float* grad_values, cudaStream_t stream);
