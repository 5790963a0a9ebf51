// A tensor argument as the launchers take it.
#pragma once

#include <ATen/core/Tensor.h>

#include "cuda_arguments.h"

namespace nerf_ssim {

// The contiguous float32 form of a tensor that must have this shape and be on the device of `like`.
inline at::Tensor checked(const at::Tensor& tensor, at::IntArrayRef shape, const char* name, const at::Tensor& like) {
  check_cuda(tensor, name, at::kFloat, like);
  TORCH_CHECK(tensor.sizes() == shape, name, ": expected ", shape, ", not ", tensor.sizes());
  return tensor.contiguous();
}

// The same for int64 [count].
inline at::Tensor checked_integers(const at::Tensor& tensor, int64_t count, const char* name, const at::Tensor& like) {
  check_cuda(tensor, name, at::kLong, like);
  TORCH_CHECK(tensor.dim() == 1 && tensor.numel() == count, name, ": expected [", count, "], not ", tensor.sizes());
  return tensor.contiguous();
}

// Null for a tensor that is not there.
inline const float* pointer_or_null(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr;
}

}  // namespace nerf_ssim
