// Packed samples dealt out to threads, by number or by the row of a grid that they lie in.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

namespace nerf_ssim {

inline int sample_shares(int64_t samples, int threads) {
  constexpr int64_t kSamplesPerShare = 1024;  // fewer are not worth waking a thread
  return static_cast<int>(std::clamp<int64_t>(samples / kSamplesPerShare, 1, std::max(1, threads)));
}

// Boundaries of `shares` runs of rows that hold about as many samples each; `near_rows` has the row of each sample.
inline std::vector<int64_t> balanced_rows(const std::vector<int32_t>& near_rows, int64_t rows, int shares) {
  constexpr size_t kCountEvery = 16;  // of so many samples one is counted
  std::vector<int64_t> boundary(shares + 1, rows);
  boundary[0] = 0;
  if (shares == 1) return boundary;
  std::vector<int64_t> samples_in_row(rows, 0);
  for (size_t s = 0; s < near_rows.size(); s += kCountEvery) ++samples_in_row[near_rows[s]];
  const int64_t samples = std::accumulate(samples_in_row.begin(), samples_in_row.end(), int64_t{0});
  int64_t seen = 0;
  int next = 1;
  for (int64_t row = 0; row < rows && next < shares; ++row) {
    seen += samples_in_row[row];
    while (next < shares && seen * shares >= samples * next) boundary[next++] = row + 1;
  }
  return boundary;
}

}  // namespace nerf_ssim
