// Torch operators of the structural-similarity index on a GPU. Nothing here waits for the device.
#include "../../cuda/ssim.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <tuple>

#include "../ssim_arguments.h"
#include "cuda_arguments.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

// Two images on one device, contiguous.
struct Images {
  SsimGeometry g;
  Tensor x, y;

  Images(const Tensor& x_in, const Tensor& y_in, at::ArrayRef<double> taps, int64_t stride, int64_t before,
         int64_t after, double c1, double c2)
      : g(image_geometry(x_in, y_in, taps, stride, before, after, c1, c2)), x(x_in.contiguous()), y(y_in.contiguous()) {
    check_cuda(y, "y", at::kFloat, x);
  }
  const float* x_data() const { return x.const_data_ptr<float>(); }
  const float* y_data() const { return y.const_data_ptr<float>(); }
  int64_t map() const { return g.planes * g.rows * g.columns; }
};

struct Gradients {
  Tensor x, y;

  Gradients(const Images& images, bool needs_x, bool needs_y)
      : x(needs_x ? at::empty_like(images.x) : at::empty({0}, images.x.options())),
        y(needs_y ? at::empty_like(images.y) : at::empty({0}, images.y.options())) {
    TORCH_CHECK(needs_x || needs_y, "SSIM: neither gradient is wanted");
  }
  float* x_data() const { return x.numel() > 0 ? x.mutable_data_ptr<float>() : nullptr; }
  float* y_data() const { return y.numel() > 0 ? y.mutable_data_ptr<float>() : nullptr; }
};

std::tuple<Tensor, Tensor> mean_with_partials(const Images& images, const SsimPartials<float>& partials,
                                              cudaStream_t stream) {
  const SsimGeometry& g = images.g;
  const auto options = images.x.options();
  Tensor mean = at::empty({}, options), statistics = at::empty({5}, options);
  Tensor sums = at::empty({5, ssim_forward_blocks(g.planes, g.rows, g.columns, g.taps, g.stride)}, options);
  check_launch(launch_ssim_forward(images.x_data(), images.y_data(), g.planes, g.height, g.width, g.rows, g.columns,
                                   g.weights, g.taps, g.stride, g.before, g.c1, g.c2, partials.mean_x, partials.mean_y,
                                   partials.square, partials.product, sums.mutable_data_ptr<float>(),
                                   mean.mutable_data_ptr<float>(), statistics.mutable_data_ptr<float>(), stream),
               "ssim_mean");
  return {mean, statistics};
}

void adjoint(const Images& images, const SsimPartials<const float>& partials, const Tensor& scale, double factor,
             const Gradients& gradients, cudaStream_t stream) {
  const SsimGeometry& g = images.g;
  check_launch(launch_ssim_adjoint(images.x_data(), images.y_data(), g.planes, g.height, g.width, g.rows, g.columns,
                                   g.weights, g.taps, g.stride, g.before, partials.mean_x, partials.mean_y,
                                   partials.square, partials.product, scale.const_data_ptr<float>(),
                                   static_cast<float>(factor), gradients.x_data(), gradients.y_data(), stream),
               "ssim_adjoint");
}

std::tuple<Tensor, Tensor, Tensor> ssim_mean_cuda(const Tensor& x, const Tensor& y, at::ArrayRef<double> taps,
                                                  int64_t stride, int64_t before, int64_t after, double c1, double c2,
                                                  bool needs_x, bool needs_y) {
  const OnDeviceOf device(x);
  const Images images(x, y, taps, stride, before, after, c1, c2);
  Tensor partials =
      at::empty({maps_for(needs_x, needs_y), images.g.planes, images.g.rows, images.g.columns}, x.options());
  const auto maps = partials_of(partials.mutable_data_ptr<float>(), images.map(), needs_x, needs_y);
  auto [mean, statistics] = mean_with_partials(images, maps, device.stream);
  return {mean, statistics, partials};
}

Tensor ssim_moments_cuda(const Tensor& x, const Tensor& y, at::ArrayRef<double> taps, int64_t stride, int64_t before,
                         int64_t after) {
  const OnDeviceOf device(x);
  const Images images(x, y, taps, stride, before, after, 0, 0);
  const SsimGeometry& g = images.g;
  Tensor moments = at::empty({4, g.planes, g.rows, g.columns}, x.options());
  check_launch(
      launch_ssim_moments(images.x_data(), images.y_data(), g.planes, g.height, g.width, g.rows, g.columns, g.weights,
                          g.taps, g.stride, g.before, moments.mutable_data_ptr<float>(), device.stream),
      "ssim_moments");
  return moments;
}

std::tuple<Tensor, Tensor> ssim_adjoint_cuda(const Tensor& x, const Tensor& y, const Tensor& partials_in,
                                             const Tensor& scale, double factor, at::ArrayRef<double> taps,
                                             int64_t stride, int64_t before, int64_t after, bool needs_x,
                                             bool needs_y) {
  const OnDeviceOf device(x);
  const Images images(x, y, taps, stride, before, after, 0, 0);
  const Gradients gradients(images, needs_x, needs_y);
  check_cuda(partials_in, "partials", at::kFloat, images.x);
  check_cuda(scale, "scale", at::kFloat, images.x);
  const int64_t maps = maps_for(needs_x, needs_y);
  TORCH_CHECK(partials_in.sizes() == at::IntArrayRef({maps, images.g.planes, images.g.rows, images.g.columns}),
              "partials: expected [", maps, ", planes, rows, columns]");
  const Tensor partials = partials_in.contiguous();
  adjoint(images, partials_of(partials.const_data_ptr<float>(), images.map(), needs_x, needs_y), scale, factor,
          gradients, device.stream);
  return {gradients.x, gradients.y};
}

std::tuple<Tensor, Tensor> ssim_recompute_cuda(const Tensor& x, const Tensor& y, const Tensor& scale, double factor,
                                               at::ArrayRef<double> taps, int64_t stride, int64_t before, int64_t after,
                                               double c1, double c2, bool needs_x, bool needs_y) {
  const OnDeviceOf device(x);
  const Images images(x, y, taps, stride, before, after, c1, c2);
  const SsimGeometry& g = images.g;
  const Gradients gradients(images, needs_x, needs_y);
  check_cuda(scale, "scale", at::kFloat, images.x);
  if (ssim_can_recompute(g.taps, g.stride)) {
    check_launch(
        launch_ssim_recompute(images.x_data(), images.y_data(), g.planes, g.height, g.width, g.rows, g.columns,
                              g.weights, g.before, g.c1, g.c2, scale.const_data_ptr<float>(),
                              static_cast<float>(factor), gradients.x_data(), gradients.y_data(), device.stream),
        "ssim_recompute");
    return {gradients.x, gradients.y};
  }
  // Other windows: the maps live for this call only.
  Tensor partials = at::empty({maps_for(needs_x, needs_y), g.planes, g.rows, g.columns}, x.options());
  float* const start = partials.mutable_data_ptr<float>();
  mean_with_partials(images, partials_of(start, images.map(), needs_x, needs_y), device.stream);
  adjoint(images, partials_of(static_cast<const float*>(start), images.map(), needs_x, needs_y), scale, factor,
          gradients, device.stream);
  return {gradients.x, gradients.y};
}

}  // namespace

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, m) {
  m.impl("ssim_mean", &ssim_mean_cuda);
  m.impl("ssim_moments", &ssim_moments_cuda);
  m.impl("ssim_adjoint", &ssim_adjoint_cuda);
  m.impl("ssim_recompute", &ssim_recompute_cuda);
}

}  // namespace nerf_ssim
