// Torch operator over cuda_ext/cpu/marching.h.
#include "../cpu/marching.h"

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

void copy_box(const Tensor& box, float lower[3], float upper[3]) {
  const float* corners = box.const_data_ptr<float>();
  for (int axis = 0; axis < 3; ++axis) {
    lower[axis] = corners[axis];
    upper[axis] = corners[3 + axis];
  }
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> march_box(
    const Tensor& origins, const Tensor& directions, const Tensor& aabb, double near, double far, double step_size,
    int64_t n_samples, const std::optional<Tensor>& jitter, const std::optional<Tensor>& bits,
    const std::optional<Tensor>& bits_aabb) {
  const int64_t rays = origins.size(0);
  TORCH_CHECK(
      n_samples >= 0 && n_samples < std::numeric_limits<int32_t>::max(), "n_samples: expected 0 to 2^31, not ",
      n_samples);
  const Tensor from = checked(origins, {rays, 3}, "origins"), along = checked(directions, {rays, 3}, "directions");
  const Tensor shifts = jitter ? checked(*jitter, {rays}, "jitter") : Tensor();
  nerf_ssim::March march{};
  march.origins = from.const_data_ptr<float>();
  march.directions = along.const_data_ptr<float>();
  march.rays = rays;
  copy_box(checked(aabb, {2, 3}, "aabb"), march.lower, march.upper);
  march.near = static_cast<float>(near);
  march.far = static_cast<float>(far);
  march.step = static_cast<float>(step_size);
  march.places = n_samples;
  march.jitter = jitter ? shifts.const_data_ptr<float>() : nullptr;
  Tensor cells;
  if (bits) {
    TORCH_CHECK(bits_aabb, "bits_aabb: expected with bits");
    TORCH_CHECK(bits->scalar_type() == at::kByte && bits->dim() == 3, "bits: expected uint8 [nx + 1, ny + 1, nz + 1]");
    cells = bits->contiguous();
    march.bits = cells.const_data_ptr<uint8_t>();
    for (int axis = 0; axis < 3; ++axis) march.cells[axis] = cells.size(axis);
    copy_box(checked(*bits_aabb, {2, 3}, "bits_aabb"), march.bits_lower, march.bits_upper);
  }
  const auto integers = origins.options().dtype(at::kLong);
  Tensor offsets = at::empty({rays + 1}, integers);
  const nerf_ssim::KeptPlaces kept =
      nerf_ssim::find_samples(march, offsets.data_ptr<int64_t>(), at::get_num_threads());
  const int64_t samples = offsets.const_data_ptr<int64_t>()[rays];
  Tensor coords = at::empty({samples, 3}, origins.options()), t = at::empty({samples}, origins.options());
  Tensor delta = at::empty({samples}, origins.options()), ray_index = at::empty({samples}, integers);
  nerf_ssim::fill_samples(
      march, offsets.const_data_ptr<int64_t>(), kept,
      {coords.data_ptr<float>(), t.data_ptr<float>(), delta.data_ptr<float>(), ray_index.data_ptr<int64_t>()});
  return {coords, t, delta, ray_index, offsets};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  library.def(
      "march_box(Tensor origins, Tensor directions, Tensor aabb, float near, float far, float step_size, int n_samples,"
      " Tensor? jitter, Tensor? bits, Tensor? bits_aabb) -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(nerf_ssim, CPU, library) { library.impl("march_box", &march_box); }
