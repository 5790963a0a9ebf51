// Factorised grids: how the samples are shared between threads. The inner loops are in grids_kernels.h.
#include "grids.h"

#include <algorithm>
#include <vector>

namespace nerf_ssim {
namespace {

constexpr int64_t kSamplesPerShare = 1024;  // fewer are not worth waking a thread

const GridKernels& grid_kernels() {
#ifdef NERF_SSIM_HAS_X86_LEVELS
  static const GridKernels& chosen = x86_level() == X86Level::avx512 ? grid_kernels_avx512()
                                     : x86_level() == X86Level::avx2 ? grid_kernels_avx2()
                                                                     : grid_kernels_baseline();
  return chosen;
#else
  return grid_kernels_baseline();
#endif
}

int shares_of(int64_t samples, int threads) {
  return static_cast<int>(std::clamp<int64_t>(samples / kSamplesPerShare, 1, std::max(1, threads)));
}

// work(share, begin, end): each share has a contiguous run of the samples.
template <class Work>
void for_each_share(int64_t samples, int shares, const Work& work) {
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share)
    work(share, samples * share / shares, samples * (share + 1) / shares);
}

// Boundaries of `shares` runs of rows that hold about as many samples each.
std::vector<int64_t> balanced_rows(const std::vector<int32_t>& near_rows, int64_t rows, int shares) {
  std::vector<int64_t> samples_in_row(rows, 0);
  for (const int32_t row : near_rows) ++samples_in_row[row];
  std::vector<int64_t> boundary(shares + 1, rows);
  boundary[0] = 0;
  const int64_t samples = static_cast<int64_t>(near_rows.size());
  int64_t seen = 0;
  int next = 1;
  for (int64_t row = 0; row < rows && next < shares; ++row) {
    seen += samples_in_row[row];
    while (next < shares && seen * shares >= samples * next) boundary[next++] = row + 1;
  }
  return boundary;
}

void add(const float* from, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i) to[i] += from[i];
}

}  // namespace

void vm_density(const VmGrid& grid, const float* coords, int64_t samples, float* out, int threads) {
  for_each_share(samples, shares_of(samples, threads), [&](int, int64_t begin, int64_t end) {
    grid_kernels().vm_density(grid, coords, begin, end, out);
  });
}

void vm_features(const VmGrid& grid, const float* coords, int64_t samples, float* out, int threads) {
  for_each_share(samples, shares_of(samples, threads), [&](int, int64_t begin, int64_t end) {
    grid_kernels().vm_features(grid, coords, begin, end, out);
  });
}

void vm_backward(
    const VmGrid& grid, const float* coords, int64_t samples, const float* grad, bool features,
    const VmGradient& gradient, int threads) {
  if (samples == 0) return;
  const GridKernels& kernels = grid_kernels();
  const int shares = shares_of(samples, threads);
  const int64_t width = features ? grid.channels[0] + grid.channels[1] + grid.channels[2] : 0;
  std::vector<int32_t> near_rows(samples);
  int64_t first_channel = 0;
  int rows_axis = -1;
  for (int m = 0; m < 3; ++m) {
    // 1. the plane row of each sample; two orientations share an axis
    const int axis = kAxisV[m];
    if (axis != rows_axis)
      for_each_share(samples, shares, [&](int, int64_t begin, int64_t end) {
        kernels.near_nodes(coords, axis, grid.nodes[axis], begin, end, near_rows.data());
      });
    rows_axis = axis;
    // 2. each share owns a run of rows and alone writes them, all samples in their order
    const std::vector<int64_t> boundary = balanced_rows(near_rows, grid.nodes[axis], shares);
    const int64_t row = grid.nodes[kAxisU[m]] * grid.channels[m], line = grid.nodes[kAxisW[m]] * grid.channels[m];
    std::vector<float> halos(shares * row, 0.0f), lines(shares * line, 0.0f);
    for_each_share(shares, shares, [&](int share, int64_t, int64_t) {
      const VmShare mine{m, near_rows.data(), boundary[share], boundary[share + 1], &halos[share * row], &lines[share * line]};
      kernels.vm_backward(
          grid, mine, coords, samples, features ? grad + first_channel : grad, width, gradient.planes[m]);
    });
    // 3. what crossed a boundary, and the private line gradients, in the order of the shares
    for (int share = 0; share < shares; ++share) {
      if (boundary[share + 1] < grid.nodes[axis] && boundary[share] < boundary[share + 1])
        add(&halos[share * row], row, gradient.planes[m] + boundary[share + 1] * row);
      add(&lines[share * line], line, gradient.lines[m]);
    }
    first_channel += grid.channels[m];
  }
}

void cp_density(const CpGrid& grid, const float* coords, int64_t samples, float* out, int threads) {
  for_each_share(samples, shares_of(samples, threads), [&](int, int64_t begin, int64_t end) {
    grid_kernels().cp_density(grid, coords, begin, end, out);
  });
}

void cp_features(const CpGrid& grid, const float* coords, int64_t samples, float* out, int threads) {
  for_each_share(samples, shares_of(samples, threads), [&](int, int64_t begin, int64_t end) {
    grid_kernels().cp_features(grid, coords, begin, end, out);
  });
}

void cp_backward(
    const CpGrid& grid, const float* coords, int64_t samples, const float* grad, bool features,
    const CpGradient& gradient, int threads) {
  const int shares = shares_of(samples, threads);
  int64_t start[4] = {0};  // of each axis in a share's private copy
  for (int axis = 0; axis < 3; ++axis) start[axis + 1] = start[axis] + grid.nodes[axis] * grid.channels;
  std::vector<float> copies(shares * start[3], 0.0f);
  for_each_share(samples, shares, [&](int share, int64_t begin, int64_t end) {
    float* mine = copies.data() + share * start[3];
    float* const lines[3] = {mine, mine + start[1], mine + start[2]};
    grid_kernels().cp_backward(grid, coords, begin, end, grad, features ? grid.channels : 0, lines);
  });
  for (int share = 0; share < shares; ++share)
    for (int axis = 0; axis < 3; ++axis)
      add(copies.data() + share * start[3] + start[axis], start[axis + 1] - start[axis], gradient.lines[axis]);
}

}  // namespace nerf_ssim
