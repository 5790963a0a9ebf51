// How kernels are launched, and arithmetic of launches that is right past 2^31 items.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

// Launches `kernel` and is the launch's cudaError_t. A template's name goes in parentheses: (kernel<11, 1>). The
// simulator's cuda_runtime.h brings a launch of its own.
#ifndef NERF_SSIM_LAUNCH
// clang-format off: it takes the launch for comparisons
#define NERF_SSIM_LAUNCH(kernel, grid, block, stream, ...) \
  ((kernel)<<<grid, block, 0, stream>>>(__VA_ARGS__), cudaGetLastError())
// clang-format on
#endif

namespace nerf_ssim {

constexpr int64_t kMostBlocks = 0x7FFFFFFF;  // along x; along y and z it is kMostBlocksYZ
constexpr int64_t kMostBlocksYZ = 65535;

constexpr int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Blocks along x for `items`, at most as many as a grid may have: then each thread strides by the whole grid.
constexpr unsigned blocks_for(int64_t items, int64_t items_per_block) {
  const int64_t blocks = ceil_divide(items, items_per_block);
  return static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks);
}

}  // namespace nerf_ssim
