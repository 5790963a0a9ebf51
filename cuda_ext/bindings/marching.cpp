// Torch operator of ray marching through a box with an occupancy volume.
#include "../include/marching.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <tuple>

#include "occupancy_arguments.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> march_box(const Tensor& origins, const Tensor& directions,
                                                             const Tensor& aabb, double near, double far,
                                                             double step_size, int64_t n_samples,
                                                             const std::optional<Tensor>& jitter,
                                                             const std::optional<Tensor>& bits,
                                                             const std::optional<Tensor>& bits_aabb) {
  check_rank(origins, 2, "origins");
  const int64_t rays = origins.size(0);
  check_places(n_samples);
  const Tensor from = checked(origins, {rays, 3}, "origins", origins);
  const Tensor along = checked(directions, {rays, 3}, "directions", origins);
  const Tensor box = checked(aabb, {2, 3}, "aabb", origins);
  const Tensor shifts = jitter ? checked(*jitter, {rays}, "jitter", origins) : Tensor();
  March march{from.const_data_ptr<float>(),
              along.const_data_ptr<float>(),
              rays,
              box.const_data_ptr<float>(),
              static_cast<float>(near),
              static_cast<float>(far),
              static_cast<float>(step_size),
              n_samples,
              pointer_or_null(shifts),
              nullptr,
              {},
              nullptr};
  Tensor cells, cells_box;
  TORCH_CHECK(bits.has_value() == bits_aabb.has_value(), "bits, bits_aabb: expected both or neither");
  if (bits) {
    cells = checked_cells(*bits, origins);
    cells_box = checked(*bits_aabb, {2, 3}, "bits_aabb", origins);
    march.bits = cells.const_data_ptr<uint8_t>();
    march.bits_aabb = cells_box.const_data_ptr<float>();
    std::copy_n(cells.sizes().begin(), 3, march.cells);
  }
  const auto integers = origins.options().dtype(at::kLong);
  Tensor offsets = at::empty({rays + 1}, integers);
  const auto kept = cpu::find_samples(march, offsets.mutable_data_ptr<int64_t>(), at::get_num_threads());
  const int64_t samples = offsets.const_data_ptr<int64_t>()[rays];
  Tensor coords = at::empty({samples, 3}, origins.options()), t = at::empty({samples}, origins.options());
  Tensor delta = at::empty({samples}, origins.options()), ray_index = at::empty({samples}, integers);
  cpu::fill_samples(march, offsets.const_data_ptr<int64_t>(), kept,
                    {coords.mutable_data_ptr<float>(), t.mutable_data_ptr<float>(), delta.mutable_data_ptr<float>(),
                     ray_index.mutable_data_ptr<int64_t>()});
  return {coords, t, delta, ray_index, offsets};
}

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  library.def(
      "march_box(Tensor origins, Tensor directions, Tensor aabb, float near, float far, float step_size, int n_samples,"
      " Tensor? jitter, Tensor? bits, Tensor? bits_aabb) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
      torch::dispatch(at::kCPU, &march_box));
}

}  // namespace
}  // namespace nerf_ssim
