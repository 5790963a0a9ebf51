// Compositing of voxel densities: one thread owns a run of rays, the forward pass goes along each ray as far as light
// is left, the backward pass goes there too and then back.
#include "../include/alpha_compositing.h"

#include <cmath>

#include "x86_levels.h"
#include "exponential.h"
#include "ray_shares.h"

namespace nerf_ssim::cpu {
namespace {

constexpr int kBlock = 64;  // opacities worked out together: a ray often ends after a few blocks

// Opacity of a density, and its derivative if asked for.
template <bool kSlope>
NERF_SSIM_PART float opacity(float density, float shift, float interval, float& slope) {
  const float x = density + shift;
  const float e = exponential(-std::fabs(x));
  // log(1 + e) = 2 artanh(e / (2 + e)), of which the argument is at most 1/3
  const float u = e / (2.0f + e), square = u * u;
  float series = 1.0f / 13;
  series = series * square + 1.0f / 11;
  series = series * square + 1.0f / 9;
  series = series * square + 1.0f / 7;
  series = series * square + 1.0f / 5;
  series = series * square + 1.0f / 3;
  const float softplus = (x > 0.0f ? x : 0.0f) + 2.0f * (u + u * square * series);
  const float alpha = one_minus_exp(interval * softplus);
  if (kSlope) slope = interval * (x > 0.0f ? 1.0f : e) / (1.0f + e) * (1.0f - alpha);
  return alpha;
}

// Opacities of up to kBlock samples; those at or below the threshold become 0.
NERF_SSIM_PART void opacities(const VoxelRays& samples, int64_t first, int count, float* alpha) {
  const float shift = samples.shift, interval = samples.interval, threshold = samples.threshold;
  const float* density = samples.density + first;
#pragma omp simd
  for (int i = 0; i < count; ++i) {
    float unused;
    const float a = opacity<false>(density[i], shift, interval, unused);
    alpha[i] = a > threshold ? a : 0.0f;
  }
}

NERF_SSIM_PART void opacities_and_slopes(const VoxelRays& samples, int64_t first, int count, float* alpha,
                                         float* slope) {
  const float shift = samples.shift, interval = samples.interval, threshold = samples.threshold;
  const float* density = samples.density + first;
#pragma omp simd
  for (int i = 0; i < count; ++i) {
    float rise;
    const float a = opacity<true>(density[i], shift, interval, rise);
    alpha[i] = a > threshold ? a : 0.0f;
    slope[i] = a > threshold ? rise : 0.0f;
  }
}

NERF_SSIM_CLONES void composite_rays(const VoxelRays& samples, int64_t first_ray, int64_t last_ray, float* weights,
                                     float* background) {
  for (int64_t r = first_ray; r < last_ray; ++r) {
    const int64_t end = samples.offsets[r + 1];
    int64_t s = samples.offsets[r];
    float light = 1.0f;
    bool has_light = true;
    while (s < end && has_light) {
      float alpha[kBlock];
      const int count = static_cast<int>(std::min<int64_t>(kBlock, end - s));
      opacities(samples, s, count, alpha);
      for (int i = 0; i < count && has_light; ++i, ++s) {
        weights[s] = alpha[i] * light;
        light *= 1.0f - alpha[i];
        has_light = light >= samples.stop;
      }
    }
    std::fill(weights + s, weights + end, 0.0f);
    background[r] = light;
  }
}

NERF_SSIM_CLONES void composite_rays_backward(const VoxelRays& samples, int64_t first_ray, int64_t last_ray,
                                              const float* grad_weights, const float* grad_background,
                                              float* grad_density) {
  std::vector<float> alphas, lights;
  for (int64_t r = first_ray; r < last_ray; ++r) {
    const int64_t begin = samples.offsets[r], end = samples.offsets[r + 1];
    if (static_cast<int64_t>(alphas.size()) < end - begin + kBlock) {
      alphas.resize(end - begin + kBlock);
      lights.resize(end - begin + kBlock);
    }
    // 1. along the ray: what light reached each sample; grad_density holds the slopes meanwhile
    int64_t s = begin;
    float light = 1.0f;
    bool has_light = true;
    while (s < end && has_light) {
      float* alpha = alphas.data() + (s - begin);
      const int count = static_cast<int>(std::min<int64_t>(kBlock, end - s));
      opacities_and_slopes(samples, s, count, alpha, grad_density + s);
      for (int i = 0; i < count && has_light; ++i, ++s) {
        lights[s - begin] = light;
        light *= 1.0f - alpha[i];
        has_light = light >= samples.stop;
      }
    }
    std::fill(grad_density + s, grad_density + end, 0.0f);
    // 2. back along it
    float to_later_light = grad_background ? grad_background[r] : 0.0f;
    while (s-- > begin) {
      const float alpha = alphas[s - begin], to_weight = grad_weights ? grad_weights[s] : 0.0f;
      grad_density[s] *= (to_weight - to_later_light) * lights[s - begin];
      to_later_light = to_weight * alpha + to_later_light * (1.0f - alpha);
    }
  }
}

// Distortion of the samples [begin, end) of one ray, and its gradient.
double distortion_of_ray(const PackedWeights& packed, int64_t begin, int64_t end, float* gradient) {
  const float *weights = packed.weights, *s = packed.s;
  const float interval = packed.interval;
  float total = 0.0f, total_moment = 0.0f;
  for (int64_t i = begin; i < end; ++i) {
    total += weights[i];
    total_moment += weights[i] * s[i];
  }
  double sum = 0.0;
  float before = 0.0f, moment_before = 0.0f;
  for (int64_t i = begin; i < end; ++i) {
    const float w = weights[i], moment = w * s[i];
    const float after = total - before - w, moment_after = total_moment - moment_before - moment;
    const float to_earlier = s[i] * before - moment_before;
    sum += 2.0f * w * to_earlier + interval / 3.0f * w * w;
    gradient[i] = 2.0f * (to_earlier + moment_after - s[i] * after) + 2.0f / 3.0f * interval * w;
    before += w;
    moment_before += moment;
  }
  return sum;
}

}  // namespace

void composite_voxels(const VoxelRays& samples, float* weights, float* background, int threads) {
  const int shares = shares_of(samples.offsets[samples.rays], samples.rays, threads);
  const std::vector<int64_t> boundary = balanced_rays(samples.offsets, samples.rays, shares);
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share)
    composite_rays(samples, boundary[share], boundary[share + 1], weights, background);
}

void composite_voxels_backward(const VoxelRays& samples, const float* grad_weights, const float* grad_background,
                               float* grad_density, int threads) {
  const int shares = shares_of(samples.offsets[samples.rays], samples.rays, threads);
  const std::vector<int64_t> boundary = balanced_rays(samples.offsets, samples.rays, shares);
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share)
    composite_rays_backward(samples, boundary[share], boundary[share + 1], grad_weights, grad_background, grad_density);
}

double distortion(const PackedWeights& packed, float* gradient, int threads) {
  const int64_t* ray_index = packed.ray_index;
  const int64_t samples = packed.samples;
  std::vector<int64_t> starts;  // of each ray that has samples, and the end
  for (int64_t i = 0; i < samples; ++i)
    if (i == 0 || ray_index[i] != ray_index[i - 1]) starts.push_back(i);
  const int64_t rays = static_cast<int64_t>(starts.size());
  starts.push_back(samples);
  const int shares = shares_of(samples, rays, threads);
  const std::vector<int64_t> boundary = balanced_rays(starts.data(), rays, shares);
  std::vector<double> of_ray(rays);  // added in order: the same for any number of threads
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share)
    for (int64_t r = boundary[share]; r < boundary[share + 1]; ++r)
      of_ray[r] = distortion_of_ray(packed, starts[r], starts[r + 1], gradient);
  double total = 0.0;
  for (const double sum : of_ray) total += sum;
  return total;
}

}  // namespace nerf_ssim::cpu
