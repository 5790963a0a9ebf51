// Rays through pixels. Operations and their rounding are those of PyTorch's, one after the other as
// ops/reference/pixel_rays.py has them; its norm of three numbers fuses the multiply-add.
#include "../include/pixel_rays.h"

#include <algorithm>
#include <cmath>

namespace nerf_ssim::cpu {

void pixel_rays(const PixelViews& views, const PixelRays& out, int threads) {
  constexpr int64_t kWorthAThread = 4096;  // rays
  const int shares = static_cast<int>(std::clamp<int64_t>(views.count / kWorthAThread, 1, std::max(1, threads)));
  const int64_t area = views.height * views.width;
#pragma omp parallel for num_threads(shares) schedule(static)
  for (int64_t i = 0; i < views.count; ++i) {
    // 1. the pixel's centre, and its view's camera
    const int64_t pixel = views.pixels[i], view = pixel / area, row = pixel % area / views.width;
    const float x = static_cast<float>(pixel % views.width) + 0.5f, y = static_cast<float>(row) + 0.5f;
    const float *K = views.K + 9 * view, *c2w = views.c2w + 12 * view;
    // 2. the unit direction in the camera's axes
    const float down = (y - K[5]) / K[4];
    const float right = (x - K[2] - K[1] * down) / K[0];
    const float norm = std::max(std::sqrt(std::fma(down, down, right * right) + 1.0f), 1e-12f);
    const float in_camera[3] = {right / norm, down / norm, 1.0f / norm};
    // 3. in the world's axes
    for (int axis = 0; axis < 3; ++axis) {
      const float* turn = c2w + 4 * axis;
      out.origins[3 * i + axis] = turn[3];
      out.directions[3 * i + axis] = turn[0] * in_camera[0] + turn[1] * in_camera[1] + turn[2] * in_camera[2];
      out.rgb[3 * i + axis] = static_cast<float>(views.images[3 * pixel + axis]) / 255.0f;
    }
  }
}

}  // namespace nerf_ssim::cpu
