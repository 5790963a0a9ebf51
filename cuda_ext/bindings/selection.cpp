// Torch operators that choose samples by weight and gather them.
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

#include "selection_arguments.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

SixTensors select_samples(const Tensor& weights, const Tensor& ray_index, const Tensor& coords,
                          const Tensor& directions, const std::optional<Tensor>& t, double threshold) {
  constexpr int64_t kWorthAThread = 16384;  // samples
  const SelectionArguments arguments(weights, ray_index, coords, directions, t, threshold);
  const WeighedSamples& samples = arguments.samples;
  const int shares =
      static_cast<int>(std::clamp<int64_t>(samples.samples / kWorthAThread, 1, std::max(1, at::get_num_threads())));
  std::vector<int64_t> before(shares + 1);
  cpu::count_chosen(samples, shares, before.data());
  const SelectionResults results(arguments, before.back());
  TORCH_CHECK(cpu::gather_chosen(samples, shares, before.data(), results.chosen),
              "ray_index: names a ray beyond directions");
  return results.tensors();
}

Tensor select_samples_backward(const Tensor& grad, const Tensor& index, int64_t samples) {
  const Tensor upstream = checked(grad, {grad.numel()}, "grad", grad);
  const Tensor places = checked_integers(index, grad.numel(), "index", grad);
  const int64_t* first = places.const_data_ptr<int64_t>();
  const auto [least, most] = std::minmax_element(first, first + places.numel());
  TORCH_CHECK(places.numel() == 0 || (*least >= 0 && *most < samples), "index: names a sample that is not there");
  Tensor gradient = at::empty({samples}, grad.options());
  cpu::spread_chosen(upstream.const_data_ptr<float>(), first, places.numel(), gradient.mutable_data_ptr<float>(),
                     samples);
  return gradient;
}

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  library.def(
      "select_samples(Tensor weights, Tensor ray_index, Tensor coords, Tensor directions, Tensor? t, float threshold)"
      " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
      torch::dispatch(at::kCPU, &select_samples));
  library.def("select_samples_backward(Tensor grad, Tensor index, SymInt samples) -> Tensor",
              torch::dispatch(at::kCPU, &select_samples_backward));
}

}  // namespace
}  // namespace nerf_ssim
