// Checks of the tensors that operators are given, whatever the device.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

namespace nerf_ssim {

inline void check_device(const at::Tensor& tensor, const char* name, const at::Tensor& like) {
  TORCH_CHECK(tensor.device() == like.device(), name, ": on ", tensor.device(), ", other tensors on ", like.device());
}

inline void check_float32(const at::Tensor& tensor, const char* name) {
  TORCH_CHECK(tensor.scalar_type() == at::kFloat, name, ": expected float32, not ", tensor.scalar_type());
}

inline void check_rank(const at::Tensor& tensor, int64_t dimensions, const char* name) {
  TORCH_CHECK(tensor.scalar_type() == at::kFloat && tensor.dim() == dimensions, name, ": expected float32 of ",
              dimensions, " dimensions, not ", tensor.scalar_type(), " of ", tensor.dim());
}

// The contiguous form of a float32 tensor that must have this shape and be on the device of `like`.
inline at::Tensor checked(const at::Tensor& tensor, at::IntArrayRef shape, const char* name, const at::Tensor& like) {
  TORCH_CHECK(tensor.scalar_type() == at::kFloat && tensor.sizes() == shape, name, ": expected float32 ", shape,
              ", not ", tensor.scalar_type(), " ", tensor.sizes());
  check_device(tensor, name, like);
  return tensor.contiguous();
}

// The same for int64 [count].
inline at::Tensor checked_integers(const at::Tensor& tensor, int64_t count, const char* name, const at::Tensor& like) {
  TORCH_CHECK(tensor.scalar_type() == at::kLong && tensor.dim() == 1 && tensor.numel() == count, name,
              ": expected int64 [", count, "], not ", tensor.scalar_type(), " ", tensor.sizes());
  check_device(tensor, name, like);
  return tensor.contiguous();
}

// The same for int64 [rays + 1]: where each ray's samples start.
inline at::Tensor checked_offsets(const at::Tensor& offsets, const at::Tensor& like) {
  TORCH_CHECK(offsets.numel() > 0, "ray_offsets: expected int64 [rays + 1]");
  return checked_integers(offsets, offsets.numel(), "ray_offsets", like);
}

// Of offsets on the CPU, whose kernels would follow them out of the arrays.
inline void check_ascending(const at::Tensor& offsets, int64_t samples) {
  const int64_t* first = offsets.const_data_ptr<int64_t>();
  const int64_t n = offsets.numel();
  TORCH_CHECK(first[0] == 0 && first[n - 1] == samples && std::is_sorted(first, first + n),
              "ray_offsets: must ascend from 0 to the number of samples");
}

// Coordinates [samples, 3].
inline at::Tensor checked_coords(const at::Tensor& coords, const at::Tensor& like) {
  TORCH_CHECK(coords.dim() == 2, "coords: expected float32 [samples, 3], not ", coords.sizes());
  return checked(coords, {coords.size(0), 3}, "coords", like);
}

// A mask [X, Y, Z] of nodes that are open.
inline at::Tensor checked_mask(const at::Tensor& mask, const at::Tensor& like) {
  TORCH_CHECK(mask.scalar_type() == at::kBool && mask.dim() == 3, "mask: expected bool [X, Y, Z], not ",
              mask.scalar_type(), " ", mask.sizes());
  check_device(mask, "mask", like);
  return mask.contiguous();
}

// The cells of an occupancy volume.
inline at::Tensor checked_bits(const at::Tensor& bits, const at::Tensor& like) {
  TORCH_CHECK(bits.scalar_type() == at::kByte && bits.dim() == 3, "bits: expected uint8 [nx + 1, ny + 1, nz + 1]");
  check_device(bits, "bits", like);
  return bits.contiguous();
}

// Places of a ray, which the marchers count in 32 bits.
inline void check_places(int64_t places) {
  TORCH_CHECK(places >= 0 && places < INT32_MAX, "n_samples: expected 0 to 2^31, not ", places);
}

// A channel-last plane.
inline at::Tensor checked_plane(const at::Tensor& plane) {
  TORCH_CHECK(plane.scalar_type() == at::kFloat && plane.dim() == 3, "plane: expected float32 [n_v, n_u, C], not ",
              plane.scalar_type(), " ", plane.sizes());
  return plane.contiguous();
}

// The planes of a grid, and the factors on the sum of their total variations.
inline std::vector<at::Tensor> checked_planes(const std::vector<at::Tensor>& planes, at::ArrayRef<double> factors) {
  TORCH_CHECK(!planes.empty() && planes.size() <= 3, "planes: expected one to three, not ", planes.size());
  TORCH_CHECK(factors.size() == 2, "factors: expected two, not ", factors.size());
  std::vector<at::Tensor> contiguous;
  for (const at::Tensor& plane : planes) {
    check_device(plane, "planes", planes[0]);
    contiguous.push_back(checked_plane(plane));
  }
  return contiguous;
}

inline void check_resizable(const at::Tensor& plane, int64_t n_v, int64_t n_u) {
  TORCH_CHECK(plane.size(0) > 0 && plane.size(1) > 0, "plane: expected at least one node a side");
  TORCH_CHECK(n_v > 0 && n_u > 0, "size: expected at least one node a side");
}

inline void check_nodes(int64_t nodes) { TORCH_CHECK(nodes > 0 && nodes < (1 << 24), "an axis needs 1 to 2^24 nodes"); }

// A tensor that is updated in place, elementwise with `like`.
inline void check_updated(const at::Tensor& tensor, const char* name, const at::Tensor& like) {
  TORCH_CHECK(tensor.scalar_type() == at::kFloat && tensor.is_contiguous() && tensor.sizes() == like.sizes(), name,
              ": expected contiguous float32 ", like.sizes(), ", not ", tensor.scalar_type(), " ", tensor.sizes());
  check_device(tensor, name, like);
}

// An upstream gradient, or an undefined tensor where there is none.
inline at::Tensor checked_upstream(const std::optional<at::Tensor>& grad, at::IntArrayRef shape,
                                   const at::Tensor& like) {
  return grad && grad->defined() ? checked(*grad, shape, "upstream gradient", like) : at::Tensor();
}

inline const float* pointer_or_null(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr;
}

}  // namespace nerf_ssim
