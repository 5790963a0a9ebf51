// Limits of the layers that the networks' operators take: their kernels count a tile of rows and a layer in 32 bits.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace nerf_ssim {

constexpr int64_t kWidestLayer = 1 << 20;
constexpr int64_t kMostWeights = 1 << 30;

// Whether a tensor is [outputs, inputs] with one output at least and within both limits.
inline bool is_layer(const at::Tensor& weight) {
  return weight.dim() == 2 && weight.size(0) >= 1 && weight.size(0) <= kWidestLayer && weight.size(1) <= kWidestLayer &&
         weight.numel() <= kMostWeights;
}

}  // namespace nerf_ssim
