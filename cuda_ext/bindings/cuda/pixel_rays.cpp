// Rays through pixels on the GPU. Pixels are not read on the host, which would have to wait for the device.
#include <torch/library.h>

#include "../pixel_ray_arguments.h"
#include "device.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

std::tuple<Tensor, Tensor, Tensor> pixel_rays_cuda(const Tensor& pixels, const Tensor& images, const Tensor& c2w,
                                                   const Tensor& K) {
  const OnDeviceOf device(pixels);
  const PixelArguments arguments(pixels, images, c2w, K);
  const PixelResults results(arguments);
  check_launch(launch_pixel_rays(arguments.views, results.rays, device.stream), "pixel_rays");
  return {results.origins, results.directions, results.rgb};
}

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) { library.impl("pixel_rays", &pixel_rays_cuda); }

}  // namespace
}  // namespace nerf_ssim
