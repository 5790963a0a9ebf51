// Torch operator of marching through contracted space.
#include "../include/contracted.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <tuple>

#include "occupancy_arguments.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

std::tuple<Tensor, Tensor, Tensor, Tensor> march_contracted(const Tensor& origins, const Tensor& directions,
                                                            const Tensor& t, double bg_len, double min_distance,
                                                            const std::optional<Tensor>& mask) {
  check_rank(origins, 2, "origins");
  const int64_t rays = origins.size(0), places = t.numel();
  check_places(places);
  const Tensor from = checked(origins, {rays, 3}, "origins", origins);
  const Tensor along = checked(directions, {rays, 3}, "directions", origins);
  const Tensor distances = checked(t, {places}, "t", origins);
  ContractedMarch march{from.const_data_ptr<float>(),
                        along.const_data_ptr<float>(),
                        rays,
                        distances.const_data_ptr<float>(),
                        places,
                        static_cast<float>(1.0 + bg_len),
                        static_cast<float>(bg_len),
                        static_cast<float>(min_distance),
                        nullptr,
                        {}};
  Tensor open;
  if (mask) {
    open = checked_open_nodes(*mask, origins);
    march.mask = open.const_data_ptr<bool>();
    std::copy_n(open.sizes().begin(), 3, march.nodes);
  }
  const auto integers = origins.options().dtype(at::kLong);
  Tensor offsets = at::empty({rays + 1}, integers);
  const auto kept = cpu::find_contracted(march, offsets.mutable_data_ptr<int64_t>(), at::get_num_threads());
  const int64_t samples = offsets.const_data_ptr<int64_t>()[rays];
  Tensor coords = at::empty({samples, 3}, origins.options()), kept_t = at::empty({samples}, origins.options());
  Tensor ray_index = at::empty({samples}, integers);
  cpu::fill_contracted(march, offsets.const_data_ptr<int64_t>(), kept, coords.mutable_data_ptr<float>(),
                       kept_t.mutable_data_ptr<float>(), ray_index.mutable_data_ptr<int64_t>());
  return {coords, kept_t, ray_index, offsets};
}

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  library.def(
      "march_contracted(Tensor origins, Tensor directions, Tensor t, float bg_len, float min_distance, Tensor? mask)"
      " -> (Tensor, Tensor, Tensor, Tensor)",
      torch::dispatch(at::kCPU, &march_contracted));
}

}  // namespace
}  // namespace nerf_ssim
