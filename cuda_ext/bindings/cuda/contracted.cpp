// Torch operator of marching through contracted space on a GPU. It waits for the number of samples.
#include "../../include/contracted.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <tuple>

#include "../../include/marching.h"
#include "../occupancy_arguments.h"
#include "device.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

std::tuple<Tensor, Tensor, Tensor, Tensor> march_contracted_cuda(const Tensor& origins, const Tensor& directions,
                                                                 const Tensor& t, double bg_len, double min_distance,
                                                                 const std::optional<Tensor>& mask) {
  const OnDeviceOf device(origins);
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
  // 1. how many samples each ray has, and where they start
  const auto integers = origins.options().dtype(at::kLong);
  Tensor counts = at::empty({rays}, integers), offsets = at::empty({rays + 1}, integers);
  int64_t* const ends = offsets.mutable_data_ptr<int64_t>();
  check_launch(launch_count_contracted(march, counts.mutable_data_ptr<int64_t>(), device.stream), "march_contracted");
  check_launch(launch_sample_offsets(counts.const_data_ptr<int64_t>(), rays, ends, device.stream), "march_contracted");
  // 2. the samples
  const int64_t samples = offsets[rays].item<int64_t>();
  Tensor coords = at::empty({samples, 3}, origins.options()), kept_t = at::empty({samples}, origins.options());
  Tensor ray_index = at::empty({samples}, integers);
  check_launch(launch_fill_contracted(march, ends, coords.mutable_data_ptr<float>(), kept_t.mutable_data_ptr<float>(),
                                      ray_index.mutable_data_ptr<int64_t>(), device.stream),
               "march_contracted");
  return {coords, kept_t, ray_index, offsets};
}

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) { library.impl("march_contracted", &march_contracted_cuda); }

}  // namespace
}  // namespace nerf_ssim
