// Torch operators of the structural-similarity index on the CPU.
#include <torch/library.h>

#include <tuple>

#include "ssim_arguments.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

std::tuple<Tensor, Tensor, Tensor> ssim_mean(const Tensor& x, const Tensor& y, at::ArrayRef<double> taps,
                                             int64_t stride, int64_t before, int64_t after, double c1, double c2,
                                             at::ArrayRef<double> mix, bool needs_x, bool needs_y) {
  const Images images(x, y, taps, stride, before, after, c1, c2, ssim_mix(mix));
  const Partials partials(images, needs_x, needs_y);
  const auto sums = cpu::ssim_forward(images.g, images.x_data(), images.y_data(), partials.to_write());
  const auto [mean, statistics] = means_of(sums, images.windows(), images.g.mix, x.options());
  return {scalar_of(mean, x.options()), statistics, partials.maps};
}

Tensor ssim_moments(const Tensor& x, const Tensor& y, at::ArrayRef<double> taps, int64_t stride, int64_t before,
                    int64_t after) {
  const Images images(x, y, taps, stride, before, after);
  Tensor moments = at::empty({4, images.g.planes, images.g.rows, images.g.columns}, x.options());
  cpu::ssim_moments(images.g, images.x_data(), images.y_data(), moments.mutable_data_ptr<float>());
  return moments;
}

std::tuple<Tensor, Tensor> ssim_adjoint(const Tensor& x, const Tensor& y, const Tensor& partials, const Tensor& scale,
                                        double factor, at::ArrayRef<double> taps, int64_t stride, int64_t before,
                                        int64_t after, bool needs_x, bool needs_y) {
  const Images images(x, y, taps, stride, before, after);
  const ImageGradients gradients(images, needs_x, needs_y);
  const double upstream = *checked(scale, {}, "scale", x).const_data_ptr<float>();
  cpu::ssim_adjoint(images.g, images.x_data(), images.y_data(), Partials(partials, images, needs_x, needs_y).to_read(),
                    static_cast<float>(upstream * factor), gradients.x_data(), gradients.y_data());
  return {gradients.x, gradients.y};
}

std::tuple<Tensor, Tensor> ssim_recompute(const Tensor& x, const Tensor& y, const Tensor& scale, double factor,
                                          at::ArrayRef<double> taps, int64_t stride, int64_t before, int64_t after,
                                          double c1, double c2, at::ArrayRef<double> mix, bool needs_x, bool needs_y) {
  const auto [mean, statistics, partials] = ssim_mean(x, y, taps, stride, before, after, c1, c2, mix, needs_x, needs_y);
  return ssim_adjoint(x, y, partials, scale, factor, taps, stride, before, after, needs_x, needs_y);
}

std::tuple<Tensor, Tensor> ssim_loss(const Tensor& x, const Tensor& y, at::ArrayRef<double> taps, int64_t stride,
                                     int64_t before, int64_t after, double c1, double c2, at::ArrayRef<double> mix,
                                     int64_t power, double by_error, double by_index, bool needs_x, bool needs_y) {
  const Images images(x, y, taps, stride, before, after, c1, c2, ssim_mix(mix));
  const SsimLoss loss = ssim_loss_of(images, power, by_error, by_index);
  const Partials partials(images, needs_x, needs_y);
  const SsimMix& of = images.g.mix;
  const auto sums = cpu::ssim_forward(images.g, images.x_data(), images.y_data(), partials.to_write(), loss.power);
  const double index = means_of(sums, images.windows(), of, x.options()).first;
  const double value = by_error * sums.error / static_cast<double>(images.pixels()) +
                       by_index * (of.product + of.luminance + of.structure - index);
  return {scalar_of(value, x.options()), partials.maps};
}

std::tuple<Tensor, Tensor> ssim_loss_adjoint(const Tensor& x, const Tensor& y, const Tensor& partials,
                                             const Tensor& scale, at::ArrayRef<double> taps, int64_t stride,
                                             int64_t before, int64_t after, int64_t power, double by_error,
                                             double by_index, bool needs_x, bool needs_y) {
  const Images images(x, y, taps, stride, before, after);
  const SsimLoss loss = ssim_loss_of(images, power, by_error, by_index);
  const ImageGradients gradients(images, needs_x, needs_y);
  const double upstream = *checked(scale, {}, "scale", x).const_data_ptr<float>();
  const double of_error = upstream * by_error / static_cast<double>(images.pixels());
  const double of_index = -upstream * by_index / static_cast<double>(images.windows());
  cpu::ssim_adjoint(images.g, images.x_data(), images.y_data(), Partials(partials, images, needs_x, needs_y).to_read(),
                    static_cast<float>(of_index), gradients.x_data(), gradients.y_data(),
                    {loss.power, static_cast<float>(of_error)});
  return {gradients.x, gradients.y};
}

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  library.def(
      "ssim_mean(Tensor x, Tensor y, float[] taps, int stride, int before, int after, float c1, float c2, "
      "float[] mix, bool needs_x, bool needs_y) -> (Tensor mean, Tensor statistics, Tensor partials)",
      torch::dispatch(at::kCPU, &ssim_mean));
  library.def("ssim_moments(Tensor x, Tensor y, float[] taps, int stride, int before, int after) -> Tensor",
              torch::dispatch(at::kCPU, &ssim_moments));
  library.def(
      "ssim_adjoint(Tensor x, Tensor y, Tensor partials, Tensor scale, float factor, float[] taps, int stride, "
      "int before, int after, bool needs_x, bool needs_y) -> (Tensor grad_x, Tensor grad_y)",
      torch::dispatch(at::kCPU, &ssim_adjoint));
  library.def(
      "ssim_recompute(Tensor x, Tensor y, Tensor scale, float factor, float[] taps, int stride, int before, int after, "
      "float c1, float c2, float[] mix, bool needs_x, bool needs_y) -> (Tensor grad_x, Tensor grad_y)",
      torch::dispatch(at::kCPU, &ssim_recompute));
  library.def(
      "ssim_loss(Tensor x, Tensor y, float[] taps, int stride, int before, int after, float c1, float c2, float[] mix, "
      "int power, float by_error, float by_index, bool needs_x, bool needs_y) -> (Tensor loss, Tensor partials)",
      torch::dispatch(at::kCPU, &ssim_loss));
  library.def(
      "ssim_loss_adjoint(Tensor x, Tensor y, Tensor partials, Tensor scale, float[] taps, int stride, int before, "
      "int after, int power, float by_error, float by_index, bool needs_x, bool needs_y) -> "
      "(Tensor grad_x, Tensor grad_y)",
      torch::dispatch(at::kCPU, &ssim_loss_adjoint));
}

}  // namespace
}  // namespace nerf_ssim
