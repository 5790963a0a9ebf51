// Factorised grids (VM and CP), channel-last. Coordinates are [samples, 3] in [-1, 1], corners aligned, zero beyond;
// axis a has nodes[a] nodes.
#pragma once

#include <cstdint>

namespace nerf_ssim {

// Orientation m of the VM decomposition pairs the plane over axes (u, v) with the line along the remaining axis w.
constexpr int kAxisU[3] = {0, 0, 1};
constexpr int kAxisV[3] = {1, 2, 2};
constexpr int kAxisW[3] = {2, 1, 0};

struct VmGrid {
  const float* planes[3];  // [nodes[v], nodes[u], channels[m]]
  const float* lines[3];   // [nodes[w], channels[m]]
  int64_t nodes[3];        // along x, y, z
  int64_t channels[3];     // of each orientation
};

struct VmGradient {
  float* planes[3];
  float* lines[3];
};

struct CpGrid {
  const float* lines[3];  // along x, y, z: [nodes[axis], channels]
  int64_t nodes[3];
  int64_t channels;
};

struct CpGradient {
  float* lines[3];
};

}  // namespace nerf_ssim
