// Torch operator of marching through contracted space on a GPU. It waits for the number of samples.
#include "../../cuda/contracted.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "../../cuda/marching.h"
#include "checked.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

std::tuple<Tensor, Tensor, Tensor, Tensor> march_contracted_cuda(
    const Tensor& origins, const Tensor& directions, const Tensor& t, double bg_len, double min_distance,
    const std::optional<Tensor>& mask) {
  const OnDeviceOf device(origins);
  const int64_t rays = origins.size(0), places = t.numel();
  const Tensor from = checked(origins, {rays, 3}, "origins", origins);
  const Tensor along = checked(directions, {rays, 3}, "directions", origins);
  const Tensor distances = checked(t, {places}, "t", origins);
  Tensor cells;
  int64_t nodes[3] = {0, 0, 0};
  if (mask) {
    check_cuda(*mask, "mask", at::kBool, origins);
    TORCH_CHECK(mask->dim() == 3, "mask: expected [X, Y, Z], not ", mask->sizes());
    cells = mask->contiguous();
    for (int axis = 0; axis < 3; ++axis) nodes[axis] = cells.size(axis);
  }
  const auto* open = mask ? reinterpret_cast<const uint8_t*>(cells.const_data_ptr<bool>()) : nullptr;
  const float outer_radius = static_cast<float>(1.0 + bg_len), shell = static_cast<float>(bg_len);
  const float spacing = static_cast<float>(min_distance);
  // 1. how many samples each ray has, and where they start
  const auto integers = origins.options().dtype(at::kLong);
  Tensor counts = at::empty({rays}, integers), offsets = at::empty({rays + 1}, integers);
  check_launch(
      launch_count_contracted(
          from.const_data_ptr<float>(), along.const_data_ptr<float>(), rays, distances.const_data_ptr<float>(), places,
          outer_radius, shell, spacing, open, nodes[0], nodes[1], nodes[2], counts.mutable_data_ptr<int64_t>(),
          device.stream),
      "march_contracted");
  check_launch(
      launch_sample_offsets(
          counts.const_data_ptr<int64_t>(), rays, offsets.mutable_data_ptr<int64_t>(), device.stream),
      "march_contracted");
  // 2. the samples
  const int64_t samples = offsets[rays].item<int64_t>();
  Tensor coords = at::empty({samples, 3}, origins.options()), kept_t = at::empty({samples}, origins.options());
  Tensor ray_index = at::empty({samples}, integers);
  check_launch(
      launch_fill_contracted(
          from.const_data_ptr<float>(), along.const_data_ptr<float>(), rays, distances.const_data_ptr<float>(), places,
          outer_radius, shell, spacing, open, nodes[0], nodes[1], nodes[2], offsets.const_data_ptr<int64_t>(),
          coords.mutable_data_ptr<float>(), kept_t.mutable_data_ptr<float>(), ray_index.mutable_data_ptr<int64_t>(),
          device.stream),
      "march_contracted");
  return {coords, kept_t, ray_index, offsets};
}

}  // namespace
}  // namespace nerf_ssim

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) {
  library.impl("march_contracted", &nerf_ssim::march_contracted_cuda);
}
