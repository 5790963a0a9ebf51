// Volume compositing: one thread owns a run of rays, the forward pass goes along each ray and the backward pass back.
#include "../include/compositing.h"

#include <algorithm>
#include <vector>

#ifndef __clang__
#pragma GCC optimize( \
    "no-trapping-math")  // nobody reads the floating-point flags; lets loops with choices be vectorised
#endif

#include "exponential.h"
#include "ray_shares.h"

namespace nerf_ssim::cpu {
namespace {

constexpr float kFactorFloor = 1e-10f;  // TensoRF's: a fully opaque sample leaves a trace of light

NERF_SSIM_CLONES
void opacities(const RaySamples& samples, int64_t begin, int64_t end, float* alpha) {
#pragma omp simd
  for (int64_t s = begin; s < end; ++s)
    alpha[s - begin] = one_minus_exp(samples.sigma[s] * samples.delta[s] * samples.distance_scale);
}

// Adds samples [begin, end) to their rays. Few channels are summed in registers while the ray stays the same.
template <int kChannels>
void accumulate_run(const float* weights, const float* values, const int64_t* ray_index, int64_t begin, int64_t end,
                    int64_t, float* out) {
  for (int64_t i = begin; i < end;) {
    const int64_t ray = ray_index[i];
    float sum[kChannels] = {};
    for (; i < end && ray_index[i] == ray; ++i)
      for (int c = 0; c < kChannels; ++c) sum[c] += weights[i] * values[i * kChannels + c];
    for (int c = 0; c < kChannels; ++c) out[ray * kChannels + c] += sum[c];
  }
}

void accumulate_any(const float* weights, const float* values, const int64_t* ray_index, int64_t begin, int64_t end,
                    int64_t channels, float* out) {
  for (int64_t i = begin; i < end; ++i)
    for (int64_t c = 0; c < channels; ++c) out[ray_index[i] * channels + c] += weights[i] * values[i * channels + c];
}

}  // namespace

void composite(const RaySamples& samples, float* weights, float* opacity, float* transmittance, int threads) {
  const int shares = shares_of(samples.offsets[samples.rays], samples.rays, threads);
  const std::vector<int64_t> boundary = balanced_rays(samples.offsets, samples.rays, shares);
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share)
    for (int64_t r = boundary[share]; r < boundary[share + 1]; ++r) {
      const int64_t begin = samples.offsets[r], end = samples.offsets[r + 1];
      opacities(samples, begin, end, weights + begin);
      float light = 1.0f, sum = 0.0f;
      for (int64_t s = begin; s < end; ++s) {
        const float alpha = weights[s];
        transmittance[s] = light;
        weights[s] = alpha * light;
        sum += weights[s];
        light *= 1.0f - alpha + kFactorFloor;
      }
      opacity[r] = sum;
    }
}

void composite_backward(const RaySamples& samples, const float* transmittance, const float* grad_weights,
                        const float* grad_opacity, const float* grad_transmittance, float* grad_sigma, int threads) {
  const int shares = shares_of(samples.offsets[samples.rays], samples.rays, threads);
  const std::vector<int64_t> boundary = balanced_rays(samples.offsets, samples.rays, shares);
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share)
    for (int64_t r = boundary[share]; r < boundary[share + 1]; ++r) {
      const int64_t begin = samples.offsets[r], end = samples.offsets[r + 1];
      opacities(samples, begin, end, grad_sigma + begin);
      const float from_opacity = grad_opacity ? grad_opacity[r] : 0.0f;
      float to_later_light = 0.0f;  // d loss / d transmittance of the next sample
      for (int64_t s = end; s-- > begin;) {
        const float alpha = grad_sigma[s], light = transmittance[s];
        const float to_weight = (grad_weights ? grad_weights[s] : 0.0f) + from_opacity;
        const float to_alpha = (to_weight - to_later_light) * light;
        to_later_light = to_weight * alpha + to_later_light * (1.0f - alpha + kFactorFloor);
        if (grad_transmittance) to_later_light += grad_transmittance[s];
        grad_sigma[s] = to_alpha * (1.0f - alpha) * samples.delta[s] * samples.distance_scale;
      }
    }
}

void accumulate(const RaySums& sums, float* out, int threads) {
  const int64_t* ray_index = sums.ray_index;
  const int64_t samples = sums.samples, channels = sums.channels;
  // Rays in ascending order, as the marcher gives them, can be split between threads; else one adds them all.
  const bool is_sorted = std::is_sorted(ray_index, ray_index + samples);
  const int shares = is_sorted ? shares_of(samples, samples, threads) : 1;
  std::vector<int64_t> boundary(shares + 1, samples);
  boundary[0] = 0;
  for (int share = 1; share < shares; ++share)
    boundary[share] = std::lower_bound(ray_index, ray_index + samples, ray_index[samples * share / shares]) - ray_index;
  const auto run = channels == 1 ? accumulate_run<1> : channels == 3 ? accumulate_run<3> : accumulate_any;
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share)
    run(sums.weights, sums.values, ray_index, boundary[share], boundary[share + 1], channels, out);
}

void accumulate_backward(const RaySums& sums, const float* grad, float* grad_weights, float* grad_values, int threads) {
  const float *weights = sums.weights, *values = sums.values;
  const int64_t* ray_index = sums.ray_index;
  const int64_t samples = sums.samples, channels = sums.channels;
  const int shares = shares_of(samples, samples, threads);
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share)
    for (int64_t i = samples * share / shares; i < samples * (share + 1) / shares; ++i) {
      const float* upstream = grad + ray_index[i] * channels;
      float sum = 0.0f;
      for (int64_t c = 0; c < channels; ++c) {
        sum += upstream[c] * values[i * channels + c];
        grad_values[i * channels + c] = upstream[c] * weights[i];
      }
      grad_weights[i] = sum;
    }
}

}  // namespace nerf_ssim::cpu
