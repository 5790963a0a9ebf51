// Torch operator over cuda_ext/cpu/contracted.h.
#include "../cpu/contracted.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <limits>
#include <optional>
#include <tuple>

namespace {

using at::Tensor;

Tensor checked(const Tensor& tensor, at::IntArrayRef shape, const char* name) {
  TORCH_CHECK(
      tensor.scalar_type() == at::kFloat && tensor.sizes() == shape, name, ": expected float32 ", shape, ", not ",
      tensor.scalar_type(), " ", tensor.sizes());
  return tensor.contiguous();
}

std::tuple<Tensor, Tensor, Tensor, Tensor> march_contracted(
    const Tensor& origins, const Tensor& directions, const Tensor& t, double bg_len, double min_distance,
    const std::optional<Tensor>& mask) {
  const int64_t rays = origins.size(0), places = t.numel();
  TORCH_CHECK(places < std::numeric_limits<int32_t>::max(), "t: expected fewer than 2^31 places");
  const Tensor from = checked(origins, {rays, 3}, "origins"), along = checked(directions, {rays, 3}, "directions");
  const Tensor distances = checked(t, {places}, "t");
  nerf_ssim::ContractedMarch march{};
  march.origins = from.const_data_ptr<float>();
  march.directions = along.const_data_ptr<float>();
  march.rays = rays;
  march.t = distances.const_data_ptr<float>();
  march.places = places;
  march.outer_radius = static_cast<float>(1.0 + bg_len);
  march.bg_len = static_cast<float>(bg_len);
  march.min_distance = static_cast<float>(min_distance);
  Tensor cells;
  if (mask) {
    TORCH_CHECK(
        mask->scalar_type() == at::kBool && mask->dim() == 3 && mask->numel() < std::numeric_limits<int32_t>::max(),
        "mask: expected bool [X, Y, Z] of fewer than 2^31 entries");
    cells = mask->contiguous();
    march.mask = cells.const_data_ptr<bool>();
    for (int axis = 0; axis < 3; ++axis) march.nodes[axis] = cells.size(axis);
  }
  const auto integers = origins.options().dtype(at::kLong);
  Tensor offsets = at::empty({rays + 1}, integers);
  const std::vector<nerf_ssim::KeptPoints> kept =
      nerf_ssim::find_contracted(march, offsets.data_ptr<int64_t>(), at::get_num_threads());
  const int64_t samples = offsets.const_data_ptr<int64_t>()[rays];
  Tensor coords = at::empty({samples, 3}, origins.options()), kept_t = at::empty({samples}, origins.options());
  Tensor ray_index = at::empty({samples}, integers);
  nerf_ssim::fill_contracted(
      march, offsets.const_data_ptr<int64_t>(), kept, coords.data_ptr<float>(), kept_t.data_ptr<float>(),
      ray_index.data_ptr<int64_t>());
  return {coords, kept_t, ray_index, offsets};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  library.def(
      "march_contracted(Tensor origins, Tensor directions, Tensor t, float bg_len, float min_distance, Tensor? mask)"
      " -> (Tensor, Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(nerf_ssim, CPU, library) { library.impl("march_contracted", &march_contracted); }
