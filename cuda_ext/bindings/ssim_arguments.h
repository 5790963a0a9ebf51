// Arguments and results that the SSIM and S3IM operators share.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <utility>

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
