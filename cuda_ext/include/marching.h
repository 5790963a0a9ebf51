// Ray marching through a box with an occupancy volume, packed.
#pragma once

#include <cstdint>
#include <vector>

#include "launcher.h"

namespace nerf_ssim {

struct March {
  const float* origins;     // [rays, 3]
  const float* directions;  // [rays, 3]
  int64_t rays;
  const float* aabb;  // [2, 3]: lower and upper corner of the box
  float near, far, step;
  int64_t places;       // samples a ray before any is left out
  const float* jitter;  // [rays] or null
  // One byte a cell of the occupancy volume, a bit for each occupied corner (see ops/reference/marching.py), or null.
  const uint8_t* bits;
  int64_t cells[3];        // one more than the volume's nodes
  const float* bits_aabb;  // [2, 3], or null
};

// The samples kept, ray after ray.
struct PackedSamples {
  float* coords;       // [samples, 3]
  float* t;            // [samples]
  float* delta;        // [samples]
  int64_t* ray_index;  // [samples]
};

namespace cpu {

// The places kept, ray after ray, in one run for each share of the rays.
using KeptPlaces = std::vector<std::vector<int32_t>>;

// Fills ray_offsets [rays + 1] and returns the places kept; ray_offsets[rays] is their number.
KeptPlaces find_samples(const March&, int64_t* ray_offsets, int threads);

void fill_samples(const March&, const int64_t* ray_offsets, const KeptPlaces&, const PackedSamples& out);

}  // namespace cpu

extern "C" {

// counts[r] = how many of the ray's `places` lie in the box and in an occupied cell.
int launch_count_samples(const March&, int64_t* counts, cudaStream_t);

// ray_offsets[0] = 0, ray_offsets[r + 1] = ray_offsets[r] + counts[r].
int launch_sample_offsets(const int64_t* counts, int64_t rays, int64_t* ray_offsets, cudaStream_t);

// The samples that were counted.
int launch_fill_samples(const March&, const int64_t* ray_offsets, const PackedSamples& out, cudaStream_t);
}

}  // namespace nerf_ssim
