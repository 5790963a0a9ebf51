// Factorised grids: how the samples are shared between threads. The inner loops are in levels/.
#include "../include/grids.h"

#include <algorithm>
#include <vector>

#include "buffer.h"
#include "levels/tables.h"
#include "sample_shares.h"

namespace nerf_ssim::cpu {
namespace {

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

// work(share, begin, end): each share has a contiguous run of the samples.
template <class Work>
void for_each_share(int64_t samples, int shares, const Work& work) {
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share) work(share, samples * share / shares, samples * (share + 1) / shares);
}

void add(const float* from, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i) to[i] += from[i];
}

int64_t width_of(const VmGrid& grid) { return grid.channels[0] + grid.channels[1] + grid.channels[2]; }

// Gradients of all orientations. work(share): those of the samples that it owns, `basis_floats` floats of the basis's
// with them; finish(m, basis_gradient) takes the sum over the shares.
template <class Work, class Finish>
void vm_backward_shares(const VmGrid& grid, const float* coords, int64_t samples, int64_t outputs,
                        const VmGradient& gradient, int threads, const Work& work, const Finish& finish) {
  const int shares = sample_shares(samples, threads);
  std::vector<int32_t> near_rows(samples);
  std::vector<int64_t> boundary;
  int rows_axis = -1;
  for (int m = 0; m < 3; ++m) {
    // 1. the plane row of each sample and who owns which rows; two orientations share an axis
    const int axis = kAxisV[m];
    if (axis != rows_axis) {
      for_each_share(samples, shares, [&](int, int64_t begin, int64_t end) {
        grid_kernels().near_nodes(coords, axis, grid.nodes[axis], begin, end, near_rows.data());
      });
      boundary = balanced_rows(near_rows, grid.nodes[axis], shares);
    }
    rows_axis = axis;
    // 2. each share owns a run of rows and alone writes them, all samples in their order
    const int64_t row = grid.nodes[kAxisU[m]] * grid.channels[m], line = grid.nodes[kAxisW[m]] * grid.channels[m];
    const int64_t basis = outputs * grid.channels[m];
    Buffer halos(shares * row), lines(shares * line), bases(shares * basis);
    for_each_share(shares, shares, [&](int share, int64_t, int64_t) {
      work(VmShare{m, near_rows.data(), boundary[share], boundary[share + 1], halos.get() + share * row,
                   lines.get() + share * line, bases.get() + share * basis});
    });
    // 3. what crossed a boundary, and the private gradients, in the order of the shares
    for (int share = 0; share < shares; ++share) {
      if (boundary[share + 1] < grid.nodes[axis] && boundary[share] < boundary[share + 1])
        add(halos.get() + share * row, row, gradient.planes[m] + boundary[share + 1] * row);
      add(lines.get() + share * line, line, gradient.lines[m]);
      if (share > 0) add(bases.get() + share * basis, basis, bases.get());
    }
    finish(m, bases.get());
  }
}

}  // namespace

void vm_density(const VmGrid& grid, const float* coords, int64_t samples, float* out, int threads) {
  for_each_share(samples, sample_shares(samples, threads),
                 [&](int, int64_t begin, int64_t end) { grid_kernels().vm_density(grid, coords, begin, end, out); });
}

void vm_features(const VmGrid& grid, const float* coords, int64_t samples, float* out, int threads) {
  for_each_share(samples, sample_shares(samples, threads),
                 [&](int, int64_t begin, int64_t end) { grid_kernels().vm_features(grid, coords, begin, end, out); });
}

void vm_backward(const VmGrid& grid, const float* coords, int64_t samples, const float* grad, bool is_features,
                 const VmGradient& gradient, int threads) {
  const int64_t width = is_features ? width_of(grid) : 0;
  const int64_t first_channel[3] = {0, grid.channels[0], grid.channels[0] + grid.channels[1]};
  vm_backward_shares(
      grid, coords, samples, 0, gradient, threads,
      [&](const VmShare& share) {
        const int m = share.orientation;
        grid_kernels().vm_backward(grid, share, coords, samples, is_features ? grad + first_channel[m] : grad, width,
                                   gradient.planes[m]);
      },
      [](int, const float*) {});
}

void vm_basis(const VmGrid& grid, const VmBasis& basis, const float* coords, int64_t samples, float* out, int threads) {
  if (basis.outputs == 0) return;  // rows of no outputs have no address
  for_each_share(samples, sample_shares(samples, threads), [&](int, int64_t begin, int64_t end) {
    Buffer scratch(grid_kernels().basis_forward_floats(grid, basis.outputs));
    grid_kernels().vm_basis(grid, basis, coords, begin, end, out, scratch.get());
  });
}

void vm_basis_backward(const VmGrid& grid, const VmBasis& basis, const float* coords, int64_t samples,
                       const float* grad, const VmGradient& gradient, float* weight_gradient, int threads) {
  const int64_t width = width_of(grid);
  float* to = weight_gradient;  // the orientation's columns
  vm_backward_shares(
      grid, coords, samples, basis.outputs, gradient, threads,
      [&](const VmShare& share) {
        const int m = share.orientation;
        Buffer scratch(grid_kernels().basis_backward_floats(grid, m, basis.outputs));
        grid_kernels().vm_basis_backward(grid, share, basis, coords, samples, grad, gradient.planes[m], scratch.get());
      },
      [&](int m, const float* columns) {
        for (int64_t n = 0; n < basis.outputs; ++n)
          std::copy_n(columns + n * grid.channels[m], grid.channels[m], to + n * width);
        to += grid.channels[m];
      });
}

void cp_density(const CpGrid& grid, const float* coords, int64_t samples, float* out, int threads) {
  for_each_share(samples, sample_shares(samples, threads),
                 [&](int, int64_t begin, int64_t end) { grid_kernels().cp_density(grid, coords, begin, end, out); });
}

void cp_features(const CpGrid& grid, const float* coords, int64_t samples, float* out, int threads) {
  for_each_share(samples, sample_shares(samples, threads),
                 [&](int, int64_t begin, int64_t end) { grid_kernels().cp_features(grid, coords, begin, end, out); });
}

void cp_backward(const CpGrid& grid, const float* coords, int64_t samples, const float* grad, bool is_features,
                 const CpGradient& gradient, int threads) {
  const int shares = sample_shares(samples, threads);
  int64_t start[4] = {0};  // of each axis in a share's private copy
  for (int axis = 0; axis < 3; ++axis) start[axis + 1] = start[axis] + grid.nodes[axis] * grid.channels;
  std::vector<float> copies(shares * start[3], 0.0f);
  for_each_share(samples, shares, [&](int share, int64_t begin, int64_t end) {
    float* mine = copies.data() + share * start[3];
    float* const lines[3] = {mine, mine + start[1], mine + start[2]};
    grid_kernels().cp_backward(grid, coords, begin, end, grad, is_features ? grid.channels : 0, lines);
  });
  for (int share = 0; share < shares; ++share)
    for (int axis = 0; axis < 3; ++axis)
      add(copies.data() + share * start[3] + start[axis], start[axis + 1] - start[axis], gradient.lines[axis]);
}

}  // namespace nerf_ssim::cpu
