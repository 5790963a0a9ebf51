// Marching through contracted space: one thread owns a run of rays. Every operation is rounded on its own and in the
// order of ops/reference/contracted.py, so that exactly the reference's samples are kept: no fused multiply-add here,
// whatever the processor.
#include "../include/contracted.h"

#include <algorithm>

#include "square_roots.h"
#include "x86_levels.h"

#pragma STDC FP_CONTRACT OFF
#ifndef __clang__  // (a division whose result is thrown away does no harm: without traps, loops with one vectorise)
#pragma GCC optimize("fp-contract=off", "no-trapping-math")
#endif

namespace nerf_ssim::cpu {
namespace {

constexpr int kBlock = 64;  // places of a ray worked out together
constexpr int64_t kRaysPerShare = 64;

// A block of consecutive places on a ray; entry 0 of the positions is the last place of the block before.
struct Block {
  float position[3][kBlock + 1];  // contracted
  float distance[kBlock];         // to the place before
  int32_t is_inner[kBlock];
  float coords[3][kBlock];  // position in [-1, 1] of the box
  int32_t node[kBlock];     // nearest entry of the mask, -1 outside
};

// Positions of `count` places from `first` on, the rest of the block filled with the last of them.
NERF_SSIM_PART void place(const ContractedMarch& march, int64_t ray, int64_t first, int count, Block& block) {
  float t[kBlock];
  for (int i = 0; i < kBlock; ++i) t[i] = march.t[first + std::min(i, count - 1)];
  const float* o = march.origins + 3 * ray;
  const float* d = march.directions + 3 * ray;
  const float ox = o[0], oy = o[1], oz = o[2], dx = d[0], dy = d[1], dz = d[2];
  const float outer = march.outer_radius, bg_len = march.bg_len;
  float norm[kBlock];
#pragma omp simd
  for (int i = 0; i < kBlock; ++i) {
    const float x = ox + dx * t[i], y = oy + dy * t[i], z = oz + dz * t[i];
    norm[i] = x * x + y * y + z * z;
  }
  square_roots(norm);
#pragma omp simd
  for (int i = 0; i < kBlock; ++i) {
    const float x = ox + dx * t[i], y = oy + dy * t[i], z = oz + dz * t[i];
    const bool is_inner = norm[i] <= 1.0f;
    const float radius = outer - bg_len / norm[i];
    const float shell_x = x / norm[i] * radius, shell_y = y / norm[i] * radius, shell_z = z / norm[i] * radius;
    block.position[0][i + 1] = is_inner ? x : shell_x;
    block.position[1][i + 1] = is_inner ? y : shell_y;
    block.position[2][i + 1] = is_inner ? z : shell_z;
    block.is_inner[i] = is_inner;
  }
}

NERF_SSIM_PART void measure(const ContractedMarch& march, Block& block) {
#pragma omp simd
  for (int i = 0; i < kBlock; ++i) {
    const float x = block.position[0][i + 1] - block.position[0][i];
    const float y = block.position[1][i + 1] - block.position[1][i];
    const float z = block.position[2][i + 1] - block.position[2][i];
    block.distance[i] = x * x + y * y + z * z;
  }
  square_roots(block.distance);
  const float outer = march.outer_radius;
  for (int axis = 0; axis < 3; ++axis)
#pragma omp simd
    for (int i = 0; i < kBlock; ++i) block.coords[axis][i] = block.position[axis][i + 1] / outer;
}

NERF_SSIM_PART void look_up_nodes(const ContractedMarch& march, Block& block) {
  for (int i = 0; i < kBlock; ++i) block.node[i] = 0;
  for (int axis = 0; axis < 3; ++axis) {
    const int32_t nodes = static_cast<int32_t>(march.nodes[axis]);
    const float half_last = static_cast<float>(nodes - 1) / 2.0f, beyond = static_cast<float>(nodes);
#pragma omp simd
    for (int i = 0; i < kBlock; ++i) {
      const float nearest = (block.coords[axis][i] + 1.0f) * half_last + 0.5f;
      const bool is_inside = nearest >= 0.0f && nearest < beyond && block.node[i] >= 0;
      block.node[i] = is_inside ? block.node[i] * nodes + static_cast<int32_t>(is_inside ? nearest : 0.0f) : -1;
    }
  }
}

// Appends what one ray keeps and returns how much that is.
NERF_SSIM_CLONES int64_t march_ray(const ContractedMarch& march, int64_t ray, KeptPoints& kept) {
  Block block;
  int64_t total = 0;
  float accumulated = 0.0f;
  for (int64_t first = 0; first < march.places; first += kBlock) {
    const int count = static_cast<int>(std::min<int64_t>(kBlock, march.places - first));
    // 1. where the places are; the ray's first has no place before it
    if (first > 0)
      for (int axis = 0; axis < 3; ++axis) block.position[axis][0] = block.position[axis][kBlock];
    place(march, ray, first, count, block);
    if (first == 0)
      for (int axis = 0; axis < 3; ++axis) block.position[axis][0] = block.position[axis][1];
    measure(march, block);
    if (march.mask) look_up_nodes(march, block);
    // 2. which are kept
    float coords[3 * kBlock];
    int32_t places[kBlock];
    int chosen = 0;
    for (int i = 0; i < count; ++i) {
      accumulated += block.distance[i];
      const bool is_over = accumulated > march.min_distance && first + i > 0;
      accumulated = is_over ? 0.0f : accumulated;
      for (int axis = 0; axis < 3; ++axis) coords[3 * chosen + axis] = block.coords[axis][i];
      places[chosen] = static_cast<int32_t>(first + i);
      bool is_kept = block.is_inner[i] | is_over;
      if (march.mask) is_kept = is_kept && block.node[i] >= 0 && march.mask[block.node[i]];
      chosen += is_kept;
    }
    kept.coords.insert(kept.coords.end(), coords, coords + 3 * chosen);
    kept.places.insert(kept.places.end(), places, places + chosen);
    total += chosen;
  }
  return total;
}

}  // namespace

std::vector<KeptPoints> find_contracted(const ContractedMarch& march, int64_t* ray_offsets, int threads) {
  const int shares = static_cast<int>(std::clamp<int64_t>(march.rays / kRaysPerShare, 1, std::max(1, threads)));
  std::vector<KeptPoints> kept(shares);
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share)
    for (int64_t r = march.rays * share / shares; r < march.rays * (share + 1) / shares; ++r)
      ray_offsets[r + 1] = march_ray(march, r, kept[share]);
  ray_offsets[0] = 0;
  for (int64_t r = 0; r < march.rays; ++r) ray_offsets[r + 1] += ray_offsets[r];
  return kept;
}

void fill_contracted(const ContractedMarch& march, const int64_t* ray_offsets, const std::vector<KeptPoints>& kept,
                     float* coords, float* t, int64_t* ray_index) {
  const int shares = static_cast<int>(kept.size());
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share) {
    const int64_t first_ray = march.rays * share / shares, first = ray_offsets[first_ray];
    std::copy(kept[share].coords.begin(), kept[share].coords.end(), coords + 3 * first);
    for (size_t i = 0; i < kept[share].places.size(); ++i) t[first + i] = march.t[kept[share].places[i]];
    for (int64_t r = first_ray; r < march.rays * (share + 1) / shares; ++r)
      std::fill(ray_index + ray_offsets[r], ray_index + ray_offsets[r + 1], r);
  }
}

}  // namespace nerf_ssim::cpu
