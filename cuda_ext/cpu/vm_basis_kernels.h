// VM features multiplied straight into a basis, a block of samples at a time: the features never leave the cache.
#pragma once

#include "gemm_tile.h"
#include "vm_kernels.h"

namespace nerf_ssim::NERF_SSIM_ISA {

// Sizes in floats. Rows are padded to whole registers, outputs also to whole register blocks of the products.
struct BasisLayout {
  int outputs, outputs_padded, rows_padded;

  explicit BasisLayout(int64_t count)
      : outputs(static_cast<int>(count)),
        outputs_padded(round_up(outputs, kLanes)),
        rows_padded(round_up(round_up(outputs, kBlockRows), kLanes)) {}

  int packed_floats(int width) const { return width * round_up(outputs, kPanelWidth); }
  int gradient_floats(int channels) const { return rows_padded * round_up(channels, kLanes); }
};

inline size_t basis_forward_floats(const VmGrid& grid, int64_t outputs) {
  const BasisLayout at(outputs);
  const int width = static_cast<int>(grid.channels[0] + grid.channels[1] + grid.channels[2]);
  return at.packed_floats(width) + kBlock * (width + at.outputs_padded);
}

inline size_t basis_backward_floats(const VmGrid& grid, int m, int64_t outputs) {
  const BasisLayout at(outputs);
  const int channels = round_up(static_cast<int>(grid.channels[m]), kLanes);
  return 2 * at.gradient_floats(channels) + kBlock * (at.rows_padded + 2 * channels);
}

// out[s, :] = weight * features of samples [begin, end). `scratch` is zeroed, of basis_forward_floats.
template <int Registers>
NERF_SSIM_INLINE void vm_basis_range(const VmGrid& grid, const VmBasis& basis, const float* coords, int64_t begin,
                                     int64_t end, float* out, float* scratch) {
  const BasisLayout at(basis.outputs);
  const int width = static_cast<int>(grid.channels[0] + grid.channels[1] + grid.channels[2]);
  // 1. the basis as panels [panel][channel][kPanelWidth outputs]
  float* const packed = scratch;
  for (int n = 0; n < at.outputs; ++n)
    for (int k = 0; k < width; ++k)
      packed[(n / kPanelWidth * width + k) * kPanelWidth + n % kPanelWidth] = basis.weight[n * width + k];
  float* const features = packed + at.packed_floats(width);
  float* const result = features + kBlock * width;
  for (int64_t first = begin; first < end; first += kBlock) {
    const int count = static_cast<int>(end - first < kBlock ? end - first : kBlock);
    // 2. the block's features, and their product with the basis
    vm_block<Registers, true>(grid, coords, first, count, features);
    multiply<Order::kByRow>(
        count, at.outputs_padded, width, features, width, {packed, int64_t{width} * kPanelWidth, kPanelWidth},
        [=](int row, int column, Vec sum) { store(result + row * at.outputs_padded + column, sum); });
    for (int i = 0; i < count; ++i)
      std::memcpy(out + (first + i) * at.outputs, result + i * at.outputs_padded, at.outputs * sizeof(float));
  }
}

// Gradients of one orientation for the samples that the share owns. `scratch` is zeroed, of basis_backward_floats.
template <int Registers>
NERF_SSIM_INLINE void vm_basis_backward_share(const VmGrid& grid, const VmShare& share, const VmBasis& basis,
                                              const float* coords, int64_t samples, const float* grad,
                                              float* plane_gradient, float* scratch) {
  const BasisLayout at(basis.outputs);
  const int m = share.orientation, channels = static_cast<int>(grid.channels[m]), padded = round_up(channels, kLanes);
  int64_t width = 0, first_channel = 0;
  for (int k = 0; k < 3; ++k) {
    if (k < m) first_channel += grid.channels[k];
    width += grid.channels[k];
  }
  // 1. this orientation's part of the basis, rows padded with zeros
  float* const weight = scratch;
  float* const weight_gradient = weight + at.gradient_floats(channels);
  float* const received = weight_gradient + at.gradient_floats(channels);  // [kBlock][rows_padded]
  float* const upstream = received + kBlock * at.rows_padded;              // [kBlock][padded]
  float* const products = upstream + kBlock * padded;                      // [kBlock][padded]
  for (int n = 0; n < at.outputs; ++n)
    std::memcpy(weight + n * padded, basis.weight + n * width + first_channel, channels * sizeof(float));

  OwnedBlock block;
  int64_t s = 0;
  while (block.next(grid, share, coords, samples, s)) {
    // 2. what the block's channels receive from above: grad * weight
    for (int i = 0; i < block.count; ++i)
      std::memcpy(received + i * at.rows_padded, grad + block.sample[i] * at.outputs, at.outputs * sizeof(float));
    multiply<Order::kByRow>(block.count, padded, at.outputs, received, at.rows_padded, {weight, kPanelWidth, padded},
                            [=](int row, int column, Vec sum) { store(upstream + row * padded + column, sum); });
    // 3. on to the grid; its products on the way give the basis its gradient: grad^T * products
    spread_block<Registers, Upstream::kEach, true>(
        grid, share, block, plane_gradient, [=](int i) { return upstream + i * padded; },
        [=](int i) { return products + i * padded; });
    multiply<Order::kByColumn>(round_up(at.outputs, kBlockRows), padded, block.count, received, at.rows_padded,
                               {products, kPanelWidth, padded}, [=](int row, int column, Vec sum) {
                                 add_to(weight_gradient + row * padded + column, sum);
                               });
  }
  for (int n = 0; n < at.outputs; ++n)
    std::memcpy(share.basis_gradient + n * channels, weight_gradient + n * padded, channels * sizeof(float));
}

static void vm_basis(const VmGrid& grid, const VmBasis& basis, const float* coords, int64_t begin, int64_t end,
                     float* out, float* scratch) {
  const int64_t* n = grid.channels;
  if (n[0] == 48 && n[1] == 48 && n[2] == 48)
    vm_basis_range<48 / kLanes>(grid, basis, coords, begin, end, out, scratch);
  else
    vm_basis_range<0>(grid, basis, coords, begin, end, out, scratch);
}

static void vm_basis_backward(const VmGrid& grid, const VmShare& share, const VmBasis& basis, const float* coords,
                              int64_t samples, const float* grad, float* plane_gradient, float* scratch) {
  if (grid.channels[share.orientation] == 48)
    vm_basis_backward_share<48 / kLanes>(grid, share, basis, coords, samples, grad, plane_gradient, scratch);
  else
    vm_basis_backward_share<0>(grid, share, basis, coords, samples, grad, plane_gradient, scratch);
}

}  // namespace nerf_ssim::NERF_SSIM_ISA
