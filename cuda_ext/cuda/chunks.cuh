// A few neighbouring floats that a thread loads, changes and stores together: one 16-byte access where runs of them
// come in fours, and a single float elsewhere.
#pragma once

#include <cuda_runtime.h>

namespace nerf_ssim {
namespace {

template <int kWidth>
struct Chunk {
  float at[kWidth];
};

template <int kWidth>
__device__ __forceinline__ Chunk<kWidth> load(const float* from) {
  if constexpr (kWidth == 4) {
    const float4 four = *reinterpret_cast<const float4*>(from);
    return {{four.x, four.y, four.z, four.w}};
  } else {
    return {{*from}};
  }
}

template <int kWidth>
__device__ __forceinline__ void store(float* to, const Chunk<kWidth>& chunk) {
  if constexpr (kWidth == 4)
    *reinterpret_cast<float4*>(to) = make_float4(chunk.at[0], chunk.at[1], chunk.at[2], chunk.at[3]);
  else
    *to = chunk.at[0];
}

// Whether runs of `length` floats that start at these pointers (null ones aside) can be taken four at a time.
template <class... Pointers>
bool comes_in_fours(int64_t length, const Pointers*... pointers) {
  return length % 4 == 0 && ((reinterpret_cast<uintptr_t>(pointers) % alignof(float4) == 0) && ...);
}

}  // namespace
}  // namespace nerf_ssim
