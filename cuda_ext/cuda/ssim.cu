// Launchers of the SSIM kernels: the 11x11 window at stride 1 goes tile by tile, the others thread by thread.
#include "ssim.h"

#include "ssim_direct.cuh"
#include "ssim_recompute.cuh"
#include "ssim_tile.cuh"

namespace nerf_ssim {
namespace {

const dim3 kTileBlock(kTileX, kThreadRows);

bool is_tiled(int64_t size, int64_t stride) { return size == kTaps && stride == 1; }
bool is_of_s3im(const SsimPlaces& g) { return g.size == 4 && g.stride == 4; }

// Sides are kept in 32 bits, with room for a window beyond; numbers of pixels are not.
bool fits(int64_t height, int64_t width, int64_t stride) {
  constexpr int64_t kMost = 0x7FFFFFFF - 64;
  return height <= kMost && width <= kMost && stride <= kMost;
}

SsimPlaces places(int64_t planes, int64_t height, int64_t width, int64_t rows, int64_t columns, int64_t size,
                  int64_t stride, int64_t before) {
  return {planes,
          static_cast<int>(height),
          static_cast<int>(width),
          static_cast<int>(rows),
          static_cast<int>(columns),
          static_cast<int>(size),
          static_cast<int>(stride),
          static_cast<int>(before)};
}

template <bool kWantsMoments>
cudaError_t forward(const SsimPlaces& g, const Taps& taps, const float* x, const float* y, float c1, float c2,
                    const ForwardTarget& target, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(ssim_forward_blocks(g.planes, g.rows, g.columns, g.size, g.stride));
  if (is_tiled(g.size, g.stride))
    return NERF_SSIM_LAUNCH((ssim_tile_forward<kWantsMoments>), blocks, kTileBlock, stream, x, y, g, taps, c1, c2,
                            target);
  if (is_of_s3im(g))
    return NERF_SSIM_LAUNCH((ssim_direct_forward<4, 4, kWantsMoments>), blocks, kDirectThreads, stream, x, y, g, taps,
                            c1, c2, target);
  return NERF_SSIM_LAUNCH((ssim_direct_forward<0, 0, kWantsMoments>), blocks, kDirectThreads, stream, x, y, g, taps, c1,
                          c2, target);
}

template <bool kWantsBoth>
cudaError_t adjoint(const SsimPlaces& g, const Taps& taps, const float* own, const float* other,
                    const AdjointMaps& maps, const float* scale, float factor, float* grad_own, float* grad_other,
                    cudaStream_t stream) {
  if (is_tiled(g.size, g.stride)) {
    const unsigned tiles = tiles_of<kWantsBoth ? kAdjointRowsOfBoth : kAdjointRows>(g.planes, g.height, g.width);
    return NERF_SSIM_LAUNCH((ssim_tile_adjoint<kWantsBoth>), tiles, kTileBlock, stream, own, other, g, taps, maps,
                            scale, factor, grad_own, grad_other);
  }
  const unsigned blocks = blocks_for(g.planes * g.height * g.width, kDirectThreads);
  if (is_of_s3im(g))
    return NERF_SSIM_LAUNCH((ssim_direct_adjoint<4, 4, kWantsBoth>), blocks, kDirectThreads, stream, own, other, g,
                            taps, maps, scale, factor, grad_own, grad_other);
  return NERF_SSIM_LAUNCH((ssim_direct_adjoint<0, 0, kWantsBoth>), blocks, kDirectThreads, stream, own, other, g, taps,
                          maps, scale, factor, grad_own, grad_other);
}

}  // namespace
}  // namespace nerf_ssim

using namespace nerf_ssim;

int64_t ssim_forward_blocks(int64_t planes, int64_t rows, int64_t columns, int64_t size, int64_t stride) {
  if (is_tiled(size, stride)) return tiles_of<kForwardRows>(planes, rows, columns);
  return blocks_for(planes * rows * columns, kDirectThreads);
}

bool ssim_can_recompute(int64_t size, int64_t stride) { return is_tiled(size, stride); }

cudaError_t launch_ssim_forward(const float* x, const float* y, int64_t planes, int64_t height, int64_t width,
                                int64_t rows, int64_t columns, const float* taps, int64_t size, int64_t stride,
                                int64_t before, float c1, float c2, float* by_mean_x, float* by_mean_y,
                                float* by_square, float* by_product, float* block_sums, float* mean, float* statistics,
                                cudaStream_t stream) {
  if (!fits(height, width, stride)) return cudaErrorInvalidConfiguration;
  const SsimPlaces g = places(planes, height, width, rows, columns, size, stride, before);
  const ForwardTarget target = {nullptr, by_mean_x, by_mean_y, by_square, by_product, block_sums};
  const cudaError_t error = forward<false>(g, taps_of(taps, size), x, y, c1, c2, target, stream);
  if (error != cudaSuccess) return error;
  const auto windows = static_cast<float>(planes * rows * columns);
  return NERF_SSIM_LAUNCH(mean_of_blocks, 1, kMeanThreads, stream, block_sums,
                          ssim_forward_blocks(planes, rows, columns, size, stride), windows, false, mean, statistics);
}

cudaError_t launch_ssim_moments(const float* x, const float* y, int64_t planes, int64_t height, int64_t width,
                                int64_t rows, int64_t columns, const float* taps, int64_t size, int64_t stride,
                                int64_t before, float* moments, cudaStream_t stream) {
  if (!fits(height, width, stride)) return cudaErrorInvalidConfiguration;
  const ForwardTarget target = {moments, nullptr, nullptr, nullptr, nullptr, nullptr};
  return forward<true>(places(planes, height, width, rows, columns, size, stride, before), taps_of(taps, size), x, y,
                       0.f, 0.f, target, stream);
}

cudaError_t launch_ssim_adjoint(const float* x, const float* y, int64_t planes, int64_t height, int64_t width,
                                int64_t rows, int64_t columns, const float* taps, int64_t size, int64_t stride,
                                int64_t before, const float* by_mean_x, const float* by_mean_y, const float* by_square,
                                const float* by_product, const float* scale, float factor, float* grad_x, float* grad_y,
                                cudaStream_t stream) {
  if (!fits(height, width, stride)) return cudaErrorInvalidConfiguration;
  const SsimPlaces g = places(planes, height, width, rows, columns, size, stride, before);
  const Taps weights = taps_of(taps, size);
  if (grad_x != nullptr && grad_y != nullptr)
    return adjoint<true>(g, weights, x, y, {by_square, by_product, by_mean_x, by_mean_y}, scale, factor, grad_x, grad_y,
                         stream);
  if (grad_x != nullptr)
    return adjoint<false>(g, weights, x, y, {by_square, by_product, by_mean_x, nullptr}, scale, factor, grad_x, nullptr,
                          stream);
  return adjoint<false>(g, weights, y, x, {by_square, by_product, by_mean_y, nullptr}, scale, factor, grad_y, nullptr,
                        stream);
}

cudaError_t launch_ssim_recompute(const float* x, const float* y, int64_t planes, int64_t height, int64_t width,
                                  int64_t rows, int64_t columns, const float* taps, int64_t before, float c1, float c2,
                                  const float* scale, float factor, float* grad_x, float* grad_y, cudaStream_t stream) {
  if (!fits(height, width, 1)) return cudaErrorInvalidConfiguration;
  const SsimPlaces g = places(planes, height, width, rows, columns, kTaps, 1, before);
  const Taps weights = taps_of(taps, kTaps);
  const unsigned tiles = tiles_of<kRecomputeRows>(planes, height, width);
  if (grad_x != nullptr && grad_y != nullptr)
    return NERF_SSIM_LAUNCH((ssim_tile_recompute<true>), tiles, kTileBlock, stream, x, y, g, weights, c1, c2, scale,
                            factor, grad_x, grad_y);
  const bool is_x = grad_x != nullptr;
  return NERF_SSIM_LAUNCH((ssim_tile_recompute<false>), tiles, kTileBlock, stream, is_x ? x : y, is_x ? y : x, g,
                          weights, c1, c2, scale, factor, is_x ? grad_x : grad_y, nullptr);
}
