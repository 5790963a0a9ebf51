// Tensors of one row a sample, which are large and new in every iteration.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace {

// An uninitialised tensor whose memory the system is asked to give in pages of 2 MiB: of 4 KiB it would hand out and
// clear fifteen thousand, one fault each, for the gradient of half a million samples' features. Where the system does
// not grant huge pages, or the tensor is smaller than a few, nothing changes.
inline at::Tensor empty_in_huge_pages(at::IntArrayRef sizes, const at::TensorOptions& options) {
  at::Tensor tensor = at::empty(sizes, options);
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t kPage = uintptr_t{2} << 20, kFewest = 4;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(tensor.mutable_data_ptr());
  const uintptr_t first = (begin + kPage - 1) / kPage * kPage, end = (begin + tensor.nbytes()) / kPage * kPage;
  if (end >= first + kFewest * kPage) madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#endif
  return tensor;
}

}  // namespace
