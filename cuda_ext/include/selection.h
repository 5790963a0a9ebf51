// The samples that get a colour: those whose weight exceeds a threshold, gathered.
#pragma once

#include <cstdint>

#include "launcher.h"

namespace nerf_ssim {

// Packed samples [samples] of `rays` rays. `t` may be null.
struct WeighedSamples {
  const float* weights;
  const int64_t* ray_index;
  const float* coords;      // [samples, 3]
  const float* directions;  // [rays, 3]
  const float* t;
  int64_t samples, rays;
  float threshold;
};

// The same of the samples that were chosen, with their places among all.
struct ChosenSamples {
  float* weights;
  int64_t* index;
  int64_t* ray_index;
  float* coords;
  float* directions;  // [chosen, 3]
  float* t;           // null where the samples have none
};

namespace cpu {

// How many are chosen before each of `shares` equal parts of the samples, and at the end how many in all.
void count_chosen(const WeighedSamples&, int shares, int64_t* before);

// Whether every chosen sample's ray is there; those whose ray is not are left unwritten.
bool gather_chosen(const WeighedSamples&, int shares, const int64_t* before, const ChosenSamples&);

// gradient[index[i]] = grad[i], and zero elsewhere.
void spread_chosen(const float* grad, const int64_t* index, int64_t chosen, float* gradient, int64_t samples);

}  // namespace cpu

constexpr int64_t kSamplesOfAWarp = 256;  // that are counted together

extern "C" {

// `counts` is scratch of one number for each kSamplesOfAWarp samples, the last of which may be fewer.
int launch_count_chosen(const WeighedSamples&, int64_t* counts, cudaStream_t);

// `before` holds how many samples are chosen before each of those. A ray that does not exist gives a direction of NaN.
int launch_gather_chosen(const WeighedSamples&, const int64_t* before, const ChosenSamples&, cudaStream_t);

// gradient[index[i]] = grad[i], of a gradient that is zero; places are all different.
int launch_spread_chosen(const float* grad, const int64_t* index, int64_t chosen, float* gradient, int64_t samples,
                         cudaStream_t);
}

}  // namespace nerf_ssim
