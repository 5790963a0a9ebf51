// Scratch memory of the kernels.
#pragma once

#include <cstddef>
#include <cstring>
#include <new>

namespace nerf_ssim {

// Zeroed floats, 64-byte aligned.
class Buffer {
 public:
  explicit Buffer(size_t floats)
      : data_(static_cast<float*>(::operator new(floats * sizeof(float), std::align_val_t(64)))) {
    std::memset(data_, 0, floats * sizeof(float));
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { ::operator delete(data_, std::align_val_t(64)); }
  float* get() { return data_; }

 private:
  float* data_;
};

}  // namespace nerf_ssim
