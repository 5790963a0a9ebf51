// Torch operators of the structural-similarity index on a GPU. Nothing here waits for the device.
#include <torch/library.h>

#include <tuple>

#include "../ssim_arguments.h"
#include "device.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

int64_t tile_rows(const OnDeviceOf& device) {
  return device.shared_memory() >= kSharedMemoryForTallTiles ? kTallTile : kFlatTile;
}

std::tuple<Tensor, Tensor> mean_with_partials(const Images& images, const Partials& partials,
                                              const OnDeviceOf& device) {
  const auto options = images.x.options();
  Tensor mean = at::empty({}, options), statistics = at::empty({5}, options);
  Tensor sums = at::empty({5, ssim_forward_blocks(images.g, tile_rows(device))}, options);
  check_launch(launch_ssim_forward(images.g, images.x_data(), images.y_data(), partials.to_write(),
                                   sums.mutable_data_ptr<float>(), mean.mutable_data_ptr<float>(),
                                   statistics.mutable_data_ptr<float>(), tile_rows(device), device.stream),
               "ssim_mean");
  return {mean, statistics};
}

void adjoint(const Images& images, const Partials& partials, const Tensor& scale, double factor,
             const ImageGradients& gradients, const OnDeviceOf& device) {
  check_launch(launch_ssim_adjoint(images.g, images.x_data(), images.y_data(), partials.to_read(),
                                   scale.const_data_ptr<float>(), static_cast<float>(factor), gradients.x_data(),
                                   gradients.y_data(), tile_rows(device), device.stream),
               "ssim_adjoint");
}

std::tuple<Tensor, Tensor, Tensor> ssim_mean_cuda(const Tensor& x, const Tensor& y, at::ArrayRef<double> taps,
                                                  int64_t stride, int64_t before, int64_t after, double c1, double c2,
                                                  at::ArrayRef<double> mix, bool needs_x, bool needs_y) {
  const OnDeviceOf device(x);
  const Images images(x, y, taps, stride, before, after, c1, c2, ssim_mix(mix));
  const Partials partials(images, needs_x, needs_y);
  auto [mean, statistics] = mean_with_partials(images, partials, device);
  return {mean, statistics, partials.maps};
}

Tensor ssim_moments_cuda(const Tensor& x, const Tensor& y, at::ArrayRef<double> taps, int64_t stride, int64_t before,
                         int64_t after) {
  const OnDeviceOf device(x);
  const Images images(x, y, taps, stride, before, after);
  Tensor moments = at::empty({4, images.g.planes, images.g.rows, images.g.columns}, x.options());
  check_launch(launch_ssim_moments(images.g, images.x_data(), images.y_data(), moments.mutable_data_ptr<float>(),
                                   tile_rows(device), device.stream),
               "ssim_moments");
  return moments;
}

std::tuple<Tensor, Tensor> ssim_adjoint_cuda(const Tensor& x, const Tensor& y, const Tensor& partials,
                                             const Tensor& scale, double factor, at::ArrayRef<double> taps,
                                             int64_t stride, int64_t before, int64_t after, bool needs_x,
                                             bool needs_y) {
  const OnDeviceOf device(x);
  const Images images(x, y, taps, stride, before, after);
  const ImageGradients gradients(images, needs_x, needs_y);
  adjoint(images, Partials(partials, images, needs_x, needs_y), checked(scale, {}, "scale", x), factor, gradients,
          device);
  return {gradients.x, gradients.y};
}

std::tuple<Tensor, Tensor> ssim_recompute_cuda(const Tensor& x, const Tensor& y, const Tensor& scale_in, double factor,
                                               at::ArrayRef<double> taps, int64_t stride, int64_t before, int64_t after,
                                               double c1, double c2, at::ArrayRef<double> mix, bool needs_x,
                                               bool needs_y) {
  const OnDeviceOf device(x);
  const Images images(x, y, taps, stride, before, after, c1, c2, ssim_mix(mix));
  const ImageGradients gradients(images, needs_x, needs_y);
  const Tensor scale = checked(scale_in, {}, "scale", x);
  if (ssim_is_tiled(images.g)) {
    check_launch(
        launch_ssim_recompute(images.g, images.x_data(), images.y_data(), scale.const_data_ptr<float>(),
                              static_cast<float>(factor), gradients.x_data(), gradients.y_data(), device.stream),
        "ssim_recompute");
    return {gradients.x, gradients.y};
  }
  const Partials partials(images, needs_x, needs_y);  // other windows: the maps live for this call only
  mean_with_partials(images, partials, device);
  adjoint(images, partials, scale, factor, gradients, device);
  return {gradients.x, gradients.y};
}

std::tuple<Tensor, Tensor> ssim_loss_cuda(const Tensor& x, const Tensor& y, at::ArrayRef<double> taps, int64_t stride,
                                          int64_t before, int64_t after, double c1, double c2, at::ArrayRef<double> mix,
                                          int64_t power, double by_error, double by_index, bool needs_x, bool needs_y) {
  const OnDeviceOf device(x);
  const Images images(x, y, taps, stride, before, after, c1, c2, ssim_mix(mix));
  const SsimLoss loss = ssim_loss_of(images, power, by_error, by_index);
  const Partials partials(images, needs_x, needs_y);
  Tensor value = at::empty({}, x.options());
  Tensor sums = at::empty({6, ssim_forward_blocks(images.g, tile_rows(device))}, x.options());
  check_launch(launch_ssim_loss(images.g, images.x_data(), images.y_data(), partials.to_write(), loss,
                                sums.mutable_data_ptr<float>(), value.mutable_data_ptr<float>(), tile_rows(device),
                                device.stream),
               "ssim_loss");
  return {value, partials.maps};
}

std::tuple<Tensor, Tensor> ssim_loss_adjoint_cuda(const Tensor& x, const Tensor& y, const Tensor& partials,
                                                  const Tensor& scale, at::ArrayRef<double> taps, int64_t stride,
                                                  int64_t before, int64_t after, int64_t power, double by_error,
                                                  double by_index, bool needs_x, bool needs_y) {
  const OnDeviceOf device(x);
  const Images images(x, y, taps, stride, before, after);
  const SsimLoss loss = ssim_loss_of(images, power, by_error, by_index);
  const ImageGradients gradients(images, needs_x, needs_y);
  check_launch(launch_ssim_loss_adjoint(images.g, images.x_data(), images.y_data(),
                                        Partials(partials, images, needs_x, needs_y).to_read(), loss,
                                        checked(scale, {}, "scale", x).const_data_ptr<float>(), gradients.x_data(),
                                        gradients.y_data(), tile_rows(device), device.stream),
               "ssim_loss_adjoint");
  return {gradients.x, gradients.y};
}

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) {
  library.impl("ssim_mean", &ssim_mean_cuda);
  library.impl("ssim_moments", &ssim_moments_cuda);
  library.impl("ssim_adjoint", &ssim_adjoint_cuda);
  library.impl("ssim_recompute", &ssim_recompute_cuda);
  library.impl("ssim_loss", &ssim_loss_cuda);
  library.impl("ssim_loss_adjoint", &ssim_loss_adjoint_cuda);
}

}  // namespace
}  // namespace nerf_ssim
