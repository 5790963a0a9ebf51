// Arguments and results that the SSIM and S3IM operators share, on every device.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <utility>

#include "../cpu/s3im.h"
#include "../cpu/ssim.h"

namespace nerf_ssim {

inline void check_float32(const at::Tensor& tensor, const char* name) {
  TORCH_CHECK(tensor.scalar_type() == at::kFloat, name, ": expected float32, not ", tensor.scalar_type());
}

inline SsimGeometry ssim_geometry(int64_t planes, int64_t height, int64_t width, at::ArrayRef<double> taps,
                                  int64_t stride, int64_t before, int64_t after, double c1, double c2) {
  const int64_t size = static_cast<int64_t>(taps.size());
  TORCH_CHECK(1 <= size && size <= kLargestWindow, "taps: expected 1 to ", kLargestWindow, ", not ", size);
  TORCH_CHECK(stride >= 1, "stride: expected at least 1, not ", stride);
  TORCH_CHECK(0 <= before && before < size && 0 <= after && after < size, "padding: expected 0 to ", size - 1);
  const int64_t extra = before + after - size;
  TORCH_CHECK(planes >= 1 && height >= 1 && width >= 1 && std::min(height, width) + extra >= 0,
              "an image of ", height, "x", width, " holds no window of ", size);
  SsimGeometry g{planes, height, width, (height + extra) / stride + 1, (width + extra) / stride + 1,
                 static_cast<int>(size), {}, stride, before, static_cast<float>(c1), static_cast<float>(c2)};
  for (int64_t k = 0; k < size; ++k) g.weights[k] = static_cast<float>(taps[k]);
  return g;
}

inline SsimGeometry image_geometry(const at::Tensor& x, const at::Tensor& y, at::ArrayRef<double> taps, int64_t stride,
                                   int64_t before, int64_t after, double c1, double c2) {
  check_float32(x, "x");
  check_float32(y, "y");
  TORCH_CHECK(x.dim() == 3 && x.sizes() == y.sizes(), "x and y: expected two [planes, height, width]");
  return ssim_geometry(x.size(0), x.size(1), x.size(2), taps, stride, before, after, c1, c2);
}

// The windows over one channel of the stochastic image. The orders' values are not looked at.
inline SsimGeometry s3im_geometry(const at::Tensor& rendered, const at::Tensor& target, const at::Tensor& orders,
                                  int64_t patch_height, at::ArrayRef<double> taps, int64_t stride, int64_t padding,
                                  double c1, double c2) {
  check_float32(rendered, "rendered");
  check_float32(target, "target");
  TORCH_CHECK(rendered.dim() == 2 && rendered.sizes() == target.sizes(), "rendered, target: expected [rays, channels]");
  TORCH_CHECK(orders.scalar_type() == at::kLong, "orders: expected int64");
  const int64_t rays = rendered.size(0), channels = rendered.size(1), pixels = orders.numel();
  TORCH_CHECK(rays >= 1 && pixels >= 1, "rendered, orders: expected at least one ray");
  TORCH_CHECK(1 <= channels && channels <= kMostChannels, "rendered: expected 1 to ", kMostChannels, " channels");
  TORCH_CHECK(patch_height >= 1 && pixels % patch_height == 0, "orders: ", pixels, " do not fill ", patch_height, " rows");
  return ssim_geometry(1, patch_height, pixels / patch_height, taps, stride, padding, padding, c1, c2);
}

// Maps in the order mu_x, mu_y (those that are wanted), x^2 + y^2, x y: [2 to 4, planes, rows, columns].
template <typename Float>
SsimPartials<Float> partials_of(Float* start, int64_t map, bool needs_x, bool needs_y) {
  if (!needs_x && !needs_y) return {};
  Float* const mean_x = needs_x ? start : nullptr;
  Float* const mean_y = needs_y ? start + (needs_x ? map : 0) : nullptr;
  Float* const square = start + map * (int(needs_x) + int(needs_y));
  return {mean_x, mean_y, square, square + map};
}

// How many maps those are.
inline int64_t maps_for(bool needs_x, bool needs_y) {
  return needs_x || needs_y ? 2 + int64_t{needs_x} + int64_t{needs_y} : 0;
}

// Mean SSIM [] and the means of SSIM, S1, S2, mu_x - mu_y and its size [5].
inline std::pair<at::Tensor, at::Tensor> means_of(const SsimSums& sums, int64_t windows, const at::TensorOptions& options) {
  at::Tensor mean = at::empty({}, options), statistics = at::empty({5}, options);
  const double values[5] = {sums.ssim, sums.luminance, sums.structure, sums.difference, sums.difference_abs};
  for (int i = 0; i < 5; ++i)
    statistics.mutable_data_ptr<float>()[i] = static_cast<float>(values[i] / static_cast<double>(windows));
  *mean.mutable_data_ptr<float>() = static_cast<float>(sums.ssim / static_cast<double>(windows));
  return {mean, statistics};
}

}  // namespace nerf_ssim
