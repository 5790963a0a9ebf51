// Ray marching. Every operation is rounded on its own and in the order of ops/reference/marching.py, so that exactly
// the reference's samples are kept: no fused multiply-add here, whatever the processor.
#include "../include/marching.h"

#include <algorithm>

#pragma STDC FP_CONTRACT OFF
#ifndef __clang__
#pragma GCC optimize("fp-contract=off")
#endif

namespace nerf_ssim::cpu {
namespace {

constexpr float kZeroDirection = 1e-6f;  // stands in for a zero component when the entry is found
constexpr int kBlock = 64;               // places looked up together
constexpr int64_t kRaysPerShare = 64;

struct Ray {
  float origin[3], direction[3];
  float entry, shift, step;

  float t(int64_t place) const { return entry + step * (static_cast<float>(place) + shift); }
  float position(int axis, float t) const { return origin[axis] + direction[axis] * t; }
};

Ray ray_at(const March& march, int64_t index) {
  Ray ray;
  float entry = 0.0f;
  for (int axis = 0; axis < 3; ++axis) {
    const float origin = march.origins[3 * index + axis], direction = march.directions[3 * index + axis];
    const float divisor = direction == 0.0f ? kZeroDirection : direction;
    const float first = std::min((march.aabb[3 + axis] - origin) / divisor, (march.aabb[axis] - origin) / divisor);
    entry = axis == 0 ? first : std::max(entry, first);
    ray.origin[axis] = origin;
    ray.direction[axis] = direction;
  }
  ray.entry = std::min(std::max(entry, march.near), march.far);
  ray.shift = march.jitter ? march.jitter[index] : 0.0f;
  ray.step = march.step;
  return ray;
}

// Whether the place lies beyond the sides through which the ray comes in (has_entered) and before those through which
// it goes out. Rounding keeps the order of places along each axis, so both change at most once along the ray.
bool has_entered(const March& march, const Ray& ray, int64_t place) {
  const float t = ray.t(place);
  for (int axis = 0; axis < 3; ++axis) {
    const float x = ray.position(axis, t), d = ray.direction[axis];
    if (!((d < 0.0f || x >= march.aabb[axis]) && (d > 0.0f || x <= march.aabb[3 + axis]))) return false;
  }
  return true;
}

bool has_not_left(const March& march, const Ray& ray, int64_t place) {
  const float t = ray.t(place);
  for (int axis = 0; axis < 3; ++axis) {
    const float x = ray.position(axis, t), d = ray.direction[axis];
    if (!((d > 0.0f || x >= march.aabb[axis]) && (d < 0.0f || x <= march.aabb[3 + axis]))) return false;
  }
  return true;
}

// First place of [begin, end) for which the predicate, false and then true, holds; end if none.
template <class Predicate>
int64_t first_place(int64_t begin, int64_t end, const Predicate& holds) {
  while (begin < end) {
    const int64_t middle = begin + (end - begin) / 2;
    if (holds(middle))
      end = middle;
    else
      begin = middle + 1;
  }
  return begin;
}

// The corners of its cell that have weight at a point: all, but for the far ones of an axis on whose node it sits.
constexpr uint8_t kNearCorners[3] = {0b00001111, 0b00110011, 0b01010101};

// Appends the occupied places of [begin, end).
void append_occupied(const March& march, const Ray& ray, int64_t begin, int64_t end, std::vector<int32_t>& kept) {
  float scale[3];
  for (int axis = 0; axis < 3; ++axis)
    scale[axis] = static_cast<float>(march.cells[axis] - 2) / (march.bits_aabb[3 + axis] - march.bits_aabb[axis]);
  for (int64_t first = begin; first < end; first += kBlock) {
    const int count = static_cast<int>(std::min<int64_t>(kBlock, end - first));
    int32_t node[3][kBlock], is_inside[kBlock], corners[kBlock];
    for (int i = 0; i < kBlock; ++i) {
      is_inside[i] = -1;
      corners[i] = 255;
    }
    for (int axis = 0; axis < 3; ++axis) {
      const float beyond = static_cast<float>(march.cells[axis] - 1), lower = march.bits_aabb[axis];
      const int32_t near_corners = kNearCorners[axis];
      for (int i = 0; i < kBlock; ++i) {
        float p = (ray.position(axis, ray.t(first + i)) - lower) * scale[axis];
        const bool inside = p > -1.0f && p < beyond;
        p = inside ? p : 0.0f;
        int32_t below = static_cast<int32_t>(p);
        below -= p < static_cast<float>(below);
        is_inside[i] &= -static_cast<int32_t>(inside);
        corners[i] &= p == static_cast<float>(below) ? near_corners : 255;
        node[axis][i] = below + 1;
      }
    }
    for (int i = 0; i < count; ++i) {
      const int64_t cell = (node[0][i] * march.cells[1] + node[1][i]) * march.cells[2] + node[2][i];
      if (is_inside[i] & march.bits[cell] & corners[i]) kept.push_back(static_cast<int32_t>(first + i));
    }
  }
}

}  // namespace

KeptPlaces find_samples(const March& march, int64_t* ray_offsets, int threads) {
  const int shares = static_cast<int>(std::clamp<int64_t>(march.rays / kRaysPerShare, 1, std::max(1, threads)));
  KeptPlaces kept(shares);
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share) {
    std::vector<int32_t>& mine = kept[share];
    for (int64_t r = march.rays * share / shares; r < march.rays * (share + 1) / shares; ++r) {
      const size_t before = mine.size();
      const Ray ray = ray_at(march, r);
      const int64_t begin = first_place(0, march.places, [&](int64_t place) { return has_entered(march, ray, place); });
      const int64_t end =
          first_place(begin, march.places, [&](int64_t place) { return !has_not_left(march, ray, place); });
      if (march.bits)
        append_occupied(march, ray, begin, end, mine);
      else
        for (int64_t place = begin; place < end; ++place) mine.push_back(static_cast<int32_t>(place));
      ray_offsets[r + 1] = static_cast<int64_t>(mine.size() - before);
    }
  }
  ray_offsets[0] = 0;
  for (int64_t r = 0; r < march.rays; ++r) ray_offsets[r + 1] += ray_offsets[r];
  return kept;
}

void fill_samples(const March& march, const int64_t* ray_offsets, const KeptPlaces& kept, const PackedSamples& out) {
  const int shares = static_cast<int>(kept.size());
  float scale[3];
  for (int axis = 0; axis < 3; ++axis) scale[axis] = 2.0f / (march.aabb[3 + axis] - march.aabb[axis]);
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share) {
    const int64_t first_ray = march.rays * share / shares;
    const int32_t* places = kept[share].data();
    for (int64_t r = first_ray; r < march.rays * (share + 1) / shares; ++r) {
      const Ray ray = ray_at(march, r);
      for (int64_t s = ray_offsets[r]; s < ray_offsets[r + 1]; ++s) {
        const int64_t place = places[s - ray_offsets[first_ray]];
        const float t = ray.t(place);
        for (int axis = 0; axis < 3; ++axis)
          out.coords[3 * s + axis] = (ray.position(axis, t) - march.aabb[axis]) * scale[axis] - 1.0f;
        out.t[s] = t;
        out.delta[s] = place == march.places - 1 ? 0.0f : march.step;
        out.ray_index[s] = r;
      }
    }
  }
}

}  // namespace nerf_ssim::cpu
