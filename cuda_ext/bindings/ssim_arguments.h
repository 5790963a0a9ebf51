// Arguments and results that the SSIM and S3IM operators share, on every device.
#pragma once

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <utility>

#include "../include/s3im.h"
#include "arguments.h"

namespace nerf_ssim {

// Weights of S1 * S2, S1 and S2 in the index that is averaged.
inline SsimMix ssim_mix(at::ArrayRef<double> mix) {
  TORCH_CHECK(mix.size() == 3, "mix: expected 3 weights, of S1 * S2, S1 and S2, not ", mix.size());
  return {static_cast<float>(mix[0]), static_cast<float>(mix[1]), static_cast<float>(mix[2])};
}

inline SsimGeometry ssim_geometry(int64_t planes, int64_t height, int64_t width, at::ArrayRef<double> taps,
                                  int64_t stride, int64_t before, int64_t after, double c1 = 0, double c2 = 0,
                                  SsimMix mix = {1, 0, 0}) {
  const int64_t size = static_cast<int64_t>(taps.size());
  TORCH_CHECK(1 <= size && size <= kLargestWindow, "taps: expected 1 to ", kLargestWindow, ", not ", size);
  TORCH_CHECK(stride >= 1, "stride: expected at least 1, not ", stride);
  TORCH_CHECK(0 <= before && before < size && 0 <= after && after < size, "padding: expected 0 to ", size - 1);
  const int64_t extra = before + after - size;
  TORCH_CHECK(planes >= 1 && height >= 1 && width >= 1 && std::min(height, width) + extra >= 0, "an image of ", height,
              "x", width, " holds no window of ", size);
  SsimGeometry g{planes, height, width,  (height + extra) / stride + 1, (width + extra) / stride + 1, size,
                 {},     stride, before, static_cast<float>(c1),        static_cast<float>(c2),       mix};
  for (int64_t k = 0; k < size; ++k) g.weights[k] = static_cast<float>(taps[k]);
  return g;
}

// Two images of one shape, contiguous.
struct Images {
  SsimGeometry g;
  at::Tensor x, y;

  Images(const at::Tensor& x_, const at::Tensor& y_, at::ArrayRef<double> taps, int64_t stride, int64_t before,
         int64_t after, double c1 = 0, double c2 = 0, SsimMix mix = {1, 0, 0}) {
    check_rank(x_, 3, "x");
    x = checked(x_, x_.sizes(), "x", x_);
    y = checked(y_, x_.sizes(), "y", x_);
    g = ssim_geometry(x.size(0), x.size(1), x.size(2), taps, stride, before, after, c1, c2, mix);
  }

  const float* x_data() const { return x.const_data_ptr<float>(); }
  const float* y_data() const { return y.const_data_ptr<float>(); }
  int64_t windows() const { return g.planes * g.rows * g.columns; }
  int64_t pixels() const { return g.planes * g.height * g.width; }
};

// A loss of the pixels' error and the index, under the windows that all devices take.
inline SsimLoss ssim_loss_of(const Images& images, int64_t power, double by_error, double by_index) {
  TORCH_CHECK(power == 1 || power == 2, "power: expected 1 or 2, not ", power);
  TORCH_CHECK(images.g.taps == kLargestWindow && images.g.stride == 1, "ssim_loss: expected windows of ",
              kLargestWindow, " at stride 1, not of ", images.g.taps, " at stride ", images.g.stride);
  return {power, static_cast<float>(by_error), static_cast<float>(by_index)};
}

// The gradients of two images that are wanted; the others are empty.
struct ImageGradients {
  at::Tensor x, y;

  ImageGradients(const Images& images, bool needs_x, bool needs_y)
      : x(needs_x ? at::empty_like(images.x) : at::empty({0}, images.x.options())),
        y(needs_y ? at::empty_like(images.y) : at::empty({0}, images.y.options())) {
    TORCH_CHECK(needs_x || needs_y, "SSIM: neither gradient is wanted");
  }

  float* x_data() const { return x.numel() > 0 ? x.mutable_data_ptr<float>() : nullptr; }
  float* y_data() const { return y.numel() > 0 ? y.mutable_data_ptr<float>() : nullptr; }
};

// Maps in the order mu_x, mu_y (those that are wanted), x^2 + y^2, x y: [none or 2 to 4, planes, rows, columns].
struct Partials {
  at::Tensor maps;
  bool needs_x, needs_y;

  static int64_t count(bool needs_x, bool needs_y) {
    return needs_x || needs_y ? 2 + int64_t{needs_x} + int64_t{needs_y} : 0;
  }

  Partials(const Images& images, bool needs_x, bool needs_y)
      : maps(
            at::empty({count(needs_x, needs_y), images.g.planes, images.g.rows, images.g.columns}, images.x.options())),
        needs_x(needs_x),
        needs_y(needs_y) {}
  Partials(const at::Tensor& given, const Images& images, bool needs_x, bool needs_y)
      : maps(checked(given, {count(needs_x, needs_y), images.g.planes, images.g.rows, images.g.columns}, "partials",
                     images.x)),
        needs_x(needs_x),
        needs_y(needs_y) {}

  SsimPartials<float> to_write() const { return at_maps(maps.mutable_data_ptr<float>()); }
  SsimPartials<const float> to_read() const { return at_maps(maps.const_data_ptr<float>()); }

 private:
  template <typename Float>
  SsimPartials<Float> at_maps(Float* start) const {
    if (!needs_x && !needs_y) return {};
    const int64_t map = maps.numel() / maps.size(0);
    Float* const square = start + map * (int64_t{needs_x} + int64_t{needs_y});
    return {needs_x ? start : nullptr, needs_y ? start + (needs_x ? map : 0) : nullptr, square, square + map};
  }
};

// The rays that a stochastic image shows, contiguous; `s` describes the windows over it. The orders' values are not
// looked at.
struct StochasticImage {
  at::Tensor rendered, target, orders;
  S3imGeometry s;

  StochasticImage(const at::Tensor& rendered_, const at::Tensor& target_, const at::Tensor& orders_,
                  int64_t patch_height, at::ArrayRef<double> taps, int64_t stride, int64_t padding, double c1,
                  double c2, SsimMix mix) {
    check_rank(rendered_, 2, "rendered");
    rendered = checked(rendered_, rendered_.sizes(), "rendered", rendered_);
    target = checked(target_, rendered_.sizes(), "target", rendered_);
    TORCH_CHECK(orders_.scalar_type() == at::kLong, "orders: expected int64");
    check_device(orders_, "orders", rendered_);
    orders = orders_.contiguous();
    const int64_t rays = rendered.size(0), channels = rendered.size(1), pixels = orders.numel();
    TORCH_CHECK(rays >= 1 && pixels >= 1, "rendered, orders: expected at least one ray");
    TORCH_CHECK(1 <= channels && channels <= kMostChannels, "rendered: expected 1 to ", kMostChannels, " channels");
    TORCH_CHECK(patch_height >= 1 && pixels % patch_height == 0, "orders: ", pixels, " do not fill ", patch_height,
                " rows");
    s = {ssim_geometry(1, patch_height, pixels / patch_height, taps, stride, padding, padding, c1, c2, mix), rays,
         channels, orders.const_data_ptr<int64_t>()};
  }

  const float* rendered_data() const { return rendered.const_data_ptr<float>(); }
  const float* target_data() const { return target.const_data_ptr<float>(); }
  int64_t windows() const { return s.windows.rows * s.windows.columns * s.channels; }
};

// The mean index, and the means of SSIM, S1, S2, mu_x - mu_y and its size [5]. On the CPU only.
inline std::pair<double, at::Tensor> means_of(const cpu::SsimSums& sums, int64_t windows, SsimMix mix,
                                              const at::TensorOptions& options) {
  at::Tensor statistics = at::empty({5}, options);
  const double values[5] = {sums.ssim, sums.luminance, sums.structure, sums.difference, sums.difference_abs};
  for (int i = 0; i < 5; ++i)
    statistics.mutable_data_ptr<float>()[i] = static_cast<float>(values[i] / static_cast<double>(windows));
  const double sum = mix.product * sums.ssim + mix.luminance * sums.luminance + mix.structure * sums.structure;
  return {sum / static_cast<double>(windows), statistics};
}

inline at::Tensor scalar_of(double value, const at::TensorOptions& options) {
  at::Tensor scalar = at::empty({}, options);
  *scalar.mutable_data_ptr<float>() = static_cast<float>(value);
  return scalar;
}

}  // namespace nerf_ssim
