// Ray marching on the GPU. The number of samples sizes the output, so that the host waits for it: the one wait here.
#include "../../include/marching.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <tuple>

#include "../occupancy_arguments.h"
#include "device.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> march_box_cuda(const Tensor& origins, const Tensor& directions,
                                                                  const Tensor& aabb, double near, double far,
                                                                  double step_size, int64_t n_samples,
                                                                  const std::optional<Tensor>& jitter,
                                                                  const std::optional<Tensor>& bits,
                                                                  const std::optional<Tensor>& bits_aabb) {
  const OnDeviceOf device(origins);
  // 1. arguments that both passes share; the boxes stay on the device
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
  // 2. how many samples each ray keeps, and where they go
  const auto integers = origins.options().dtype(at::kLong);
  Tensor counts = at::empty({rays}, integers), offsets = at::empty({rays + 1}, integers);
  int64_t* const ends = offsets.mutable_data_ptr<int64_t>();
  check_launch(launch_count_samples(march, counts.mutable_data_ptr<int64_t>(), device.stream), "march_box");
  check_launch(launch_sample_offsets(counts.const_data_ptr<int64_t>(), rays, ends, device.stream), "march_box");
  const int64_t samples = offsets[rays].item<int64_t>();
  // 3. the samples
  Tensor coords = at::empty({samples, 3}, origins.options()), t = at::empty({samples}, origins.options());
  Tensor delta = at::empty({samples}, origins.options()), ray_index = at::empty({samples}, integers);
  const PackedSamples packed{coords.mutable_data_ptr<float>(), t.mutable_data_ptr<float>(),
                             delta.mutable_data_ptr<float>(), ray_index.mutable_data_ptr<int64_t>()};
  check_launch(launch_fill_samples(march, ends, packed, device.stream), "march_box");
  return {coords, t, delta, ray_index, offsets};
}

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) { library.impl("march_box", &march_box_cuda); }

}  // namespace
}  // namespace nerf_ssim
