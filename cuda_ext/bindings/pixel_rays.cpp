// Torch operator of the rays through pixels and the pixels' colours.
#include <ATen/Parallel.h>
#include <torch/library.h>

#include "pixel_ray_arguments.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

std::tuple<Tensor, Tensor, Tensor> pixel_rays(const Tensor& pixels, const Tensor& images, const Tensor& c2w,
                                              const Tensor& K) {
  const PixelArguments arguments(pixels, images, c2w, K);
  const PixelViews& views = arguments.views;
  const int64_t total = views.views * views.height * views.width;
  for (int64_t i = 0; i < views.count; ++i)
    TORCH_CHECK(views.pixels[i] >= 0 && views.pixels[i] < total, "pixels: ", views.pixels[i], " is not in the views");
  const PixelResults results(arguments);
  cpu::pixel_rays(views, results.rays, at::get_num_threads());
  return {results.origins, results.directions, results.rgb};
}

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  library.def("pixel_rays(Tensor pixels, Tensor images, Tensor c2w, Tensor K) -> (Tensor, Tensor, Tensor)",
              torch::dispatch(at::kCPU, &pixel_rays));
}

}  // namespace
}  // namespace nerf_ssim
