// Tiles of samples dealt out to threads: each takes a contiguous run of them, the same for every number of samples.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "buffer.h"

namespace nerf_ssim {

// Calls work(share, begin, count) for every tile; each of `shares` owns a contiguous run of tiles.
template <class Work>
void for_each_tile(int64_t samples, int tile, int shares, const Work& work) {
  const int64_t tiles = (samples + tile - 1) / tile;
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share)
    for (int64_t t = tiles * share / shares; t < tiles * (share + 1) / shares; ++t)
      work(share, t * tile, static_cast<int>(std::min<int64_t>(tile, samples - t * tile)));
}

inline int shares_for(int64_t samples, int tile, int threads) {
  return static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(threads, (samples + tile - 1) / tile)));
}

inline std::vector<std::unique_ptr<Buffer>> buffers(int count, size_t floats) {
  std::vector<std::unique_ptr<Buffer>> all;
  for (int i = 0; i < count; ++i) all.push_back(std::make_unique<Buffer>(floats));
  return all;
}

// Adds the other shares' sums to the first one's, in order: the result depends on their number, never on timing.
inline float* add_shares(const std::vector<std::unique_ptr<Buffer>>& sums, size_t floats) {
  float* total = sums[0]->get();
  for (size_t share = 1; share < sums.size(); ++share)
    for (size_t i = 0; i < floats; ++i) total[i] += sums[share]->get()[i];
  return total;
}

}  // namespace nerf_ssim
