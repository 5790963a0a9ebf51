// Ray marching through contracted space with cumulative-distance thinning, packed.
#pragma once

#include <cstdint>
#include <vector>

#include "launcher.h"

namespace nerf_ssim {

struct ContractedMarch {
  const float* origins;     // [rays, 3], in radii of the unit ball
  const float* directions;  // [rays, 3]
  int64_t rays;
  const float* t;  // [places], the same for every ray
  int64_t places;
  float outer_radius;  // 1 + bg_len
  float bg_len, min_distance;
  const bool* mask;  // [nodes] over the box of half side outer_radius, or null
  int64_t nodes[3];
};

namespace cpu {

// What a run of rays keeps, ray after ray.
struct KeptPoints {
  std::vector<float> coords;  // three a place
  std::vector<int32_t> places;
};

// Fills ray_offsets [rays + 1] and returns what each share of the rays keeps; ray_offsets[rays] is the total.
std::vector<KeptPoints> find_contracted(const ContractedMarch&, int64_t* ray_offsets, int threads);

// Writes coords [samples, 3], t [samples] and ray_index [samples].
void fill_contracted(const ContractedMarch&, const int64_t* ray_offsets, const std::vector<KeptPoints>& kept,
                     float* coords, float* t, int64_t* ray_index);

}  // namespace cpu

extern "C" {

// Two passes with launch_sample_offsets (marching.h) between them. counts [rays]: how many places on each ray are kept.
int launch_count_contracted(const ContractedMarch&, int64_t* counts, cudaStream_t);

// The same rays again: coords [samples, 3], t [samples] and ray_index [samples] from ray_offsets[ray] on.
int launch_fill_contracted(const ContractedMarch&, const int64_t* ray_offsets, float* coords, float* t,
                           int64_t* ray_index, cudaStream_t);
}

}  // namespace nerf_ssim
