// How the rays of packed samples are shared between threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace nerf_ssim {

// Shares for so many samples, at most `at_most` and `threads`.
inline int shares_of(int64_t samples, int64_t at_most, int threads) {
  constexpr int64_t kSamplesPerShare = 4096;  // fewer are not worth waking a thread
  const int64_t wanted = std::min<int64_t>(at_most, samples / kSamplesPerShare);
  return static_cast<int>(std::clamp<int64_t>(wanted, 1, std::max(1, threads)));
}

// First ray of each share, so that shares have about as many samples; `offsets` [rays + 1] says where rays start.
inline std::vector<int64_t> balanced_rays(const int64_t* offsets, int64_t rays, int shares) {
  std::vector<int64_t> boundary(shares + 1, rays);
  boundary[0] = 0;
  for (int share = 1; share < shares; ++share)
    boundary[share] = std::lower_bound(offsets, offsets + rays, offsets[rays] * share / shares) - offsets;
  return boundary;
}

}  // namespace nerf_ssim
