// Rays through pixels: the operations of cuda_ext/cpu/pixel_rays.cpp, each rounded as there, so that both devices see
// the same rays to the last bit.
#include "../include/pixel_rays.h"

#include "launch.h"

namespace nerf_ssim {
namespace {

constexpr int kThreads = 256;

// One thread owns a ray.
__global__ void __launch_bounds__(kThreads) pixel_rays(PixelViews views, PixelRays out) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= views.count) return;
  const int64_t area = views.height * views.width, pixel = views.pixels[i];
  if (pixel < 0 || pixel >= views.views * area) {
    const float none = __int_as_float(0x7FC00000);
    for (int axis = 0; axis < 3; ++axis)
      out.origins[3 * i + axis] = out.directions[3 * i + axis] = out.rgb[3 * i + axis] = none;
    return;
  }
  // 1. the pixel's centre, and its view's camera
  const int64_t view = pixel / area, row = (pixel - view * area) / views.width;
  const float x = static_cast<float>(pixel % views.width) + 0.5f, y = static_cast<float>(row) + 0.5f;
  const float *K = views.K + 9 * view, *c2w = views.c2w + 12 * view;
  // 2. the unit direction in the camera's axes
  const float down = __fdiv_rn(__fsub_rn(y, K[5]), K[4]);
  const float right = __fdiv_rn(__fsub_rn(__fsub_rn(x, K[2]), __fmul_rn(K[1], down)), K[0]);
  const float norm = max(__fsqrt_rn(__fadd_rn(fmaf(down, down, __fmul_rn(right, right)), 1.0f)), 1e-12f);
  const float in_camera[3] = {__fdiv_rn(right, norm), __fdiv_rn(down, norm), __fdiv_rn(1.0f, norm)};
  // 3. in the world's axes
  for (int axis = 0; axis < 3; ++axis) {
    const float* turn = c2w + 4 * axis;
    out.origins[3 * i + axis] = turn[3];
    out.directions[3 * i + axis] =
        __fadd_rn(__fadd_rn(__fmul_rn(turn[0], in_camera[0]), __fmul_rn(turn[1], in_camera[1])),
                  __fmul_rn(turn[2], in_camera[2]));
    out.rgb[3 * i + axis] = __fdiv_rn(static_cast<float>(views.images[3 * pixel + axis]), 255.0f);
  }
}

}  // namespace

int launch_pixel_rays(const PixelViews& views, const PixelRays& out, cudaStream_t stream) {
  if (views.count == 0) return cudaSuccess;
  return NERF_SSIM_LAUNCH(pixel_rays, blocks_for(views.count, kThreads), kThreads, stream, views, out);
}

}  // namespace nerf_ssim
