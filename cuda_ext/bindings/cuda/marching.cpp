// Ray marching on the GPU. The number of samples sizes the output, so that the host waits for it: the one wait here.
#include "../../cuda/marching.h"

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <limits>
#include <optional>
#include <tuple>

#include "checked.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> march_box_cuda(
    const Tensor& origins, const Tensor& directions, const Tensor& aabb, double near, double far, double step_size,
    int64_t n_samples, const std::optional<Tensor>& jitter, const std::optional<Tensor>& bits,
    const std::optional<Tensor>& bits_aabb) {
  TORCH_CHECK(origins.dim() == 2, "origins: expected [rays, 3], not ", origins.sizes());
  TORCH_CHECK(
      n_samples >= 0 && n_samples < std::numeric_limits<int32_t>::max(), "n_samples: expected 0 to 2^31, not ",
      n_samples);
  const OnDeviceOf device(origins);
  // 1. arguments that both passes share; the boxes stay on the device
  const int64_t rays = origins.size(0);
  const Tensor from = checked(origins, {rays, 3}, "origins", origins);
  const Tensor along = checked(directions, {rays, 3}, "directions", origins);
  const Tensor box = checked(aabb, {2, 3}, "aabb", origins);
  const Tensor shifts = jitter ? checked(*jitter, {rays}, "jitter", origins) : Tensor();
  Tensor cells, cells_box;
  int64_t sizes[3] = {0, 0, 0};
  if (bits) {
    TORCH_CHECK(bits_aabb, "bits_aabb: expected with bits");
    check_cuda(*bits, "bits", at::kByte, origins);
    TORCH_CHECK(bits->dim() == 3, "bits: expected [nx + 1, ny + 1, nz + 1]");
    cells = bits->contiguous();
    cells_box = checked(*bits_aabb, {2, 3}, "bits_aabb", origins);
    for (int axis = 0; axis < 3; ++axis) sizes[axis] = cells.size(axis);
  }
  const uint8_t* cell_bits = bits ? cells.const_data_ptr<uint8_t>() : nullptr;
  const float first = static_cast<float>(near), last = static_cast<float>(far), step = static_cast<float>(step_size);
  // 2. how many samples each ray keeps, and where they go
  const auto integers = origins.options().dtype(at::kLong);
  Tensor counts = at::empty({rays}, integers), offsets = at::empty({rays + 1}, integers);
  check_launch(
      launch_count_samples(
          from.const_data_ptr<float>(), along.const_data_ptr<float>(), rays, box.const_data_ptr<float>(), first, last,
          step, n_samples, pointer_or_null(shifts), cell_bits, sizes[0], sizes[1], sizes[2],
          pointer_or_null(cells_box), counts.mutable_data_ptr<int64_t>(), device.stream),
      "march_box");
  check_launch(
      launch_sample_offsets(
          counts.const_data_ptr<int64_t>(), rays, offsets.mutable_data_ptr<int64_t>(), device.stream),
      "march_box");
  const int64_t samples = offsets[rays].item<int64_t>();
  // 3. the samples
  Tensor coords = at::empty({samples, 3}, from.options()), t = at::empty({samples}, from.options());
  Tensor delta = at::empty({samples}, from.options()), ray_index = at::empty({samples}, integers);
  check_launch(
      launch_fill_samples(
          from.const_data_ptr<float>(), along.const_data_ptr<float>(), rays, box.const_data_ptr<float>(), first, last,
          step, n_samples, pointer_or_null(shifts), cell_bits, sizes[0], sizes[1], sizes[2],
          pointer_or_null(cells_box), offsets.const_data_ptr<int64_t>(), coords.mutable_data_ptr<float>(),
          t.mutable_data_ptr<float>(), delta.mutable_data_ptr<float>(), ray_index.mutable_data_ptr<int64_t>(),
          device.stream),
      "march_box");
  return {coords, t, delta, ray_index, offsets};
}

}  // namespace
}  // namespace nerf_ssim

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) { library.impl("march_box", &nerf_ssim::march_box_cuda); }
