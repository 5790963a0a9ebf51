// Ray marching through a box with an occupancy volume, packed.
#pragma once

#include <cstdint>
#include <vector>

namespace nerf_ssim {

struct March {
  const float* origins;     // [rays, 3]
  const float* directions;  // [rays, 3]
  int64_t rays;
  float lower[3], upper[3];  // the box
  float near, far, step;
  int64_t places;       // samples a ray before any is left out
  const float* jitter;  // [rays] or null
  // One byte a cell of the occupancy volume, a bit for each occupied corner (see ops/reference/marching.py), or null.
  const uint8_t* bits;
  int64_t cells[3];  // one more than the volume's nodes
  float bits_lower[3], bits_upper[3];
};

// The places kept, ray after ray, in one run for each share of the rays.
using KeptPlaces = std::vector<std::vector<int32_t>>;

// Fills ray_offsets [rays + 1] and returns the places kept; ray_offsets[rays] is their number.
KeptPlaces find_samples(const March& march, int64_t* ray_offsets, int threads);

struct MarchOutput {
  float* coords;       // [samples, 3]
  float* t;            // [samples]
  float* delta;        // [samples]
  int64_t* ray_index;  // [samples]
};

void fill_samples(const March& march, const int64_t* ray_offsets, const KeptPlaces& kept, const MarchOutput& out);

}  // namespace nerf_ssim
