// Launchers of the SSIM kernels: the 11x11 window at stride 1 goes tile by tile, the others thread by thread.
#include "../include/ssim.h"

#include "ssim_direct.cuh"
#include "ssim_recompute.cuh"
#include "ssim_tile.cuh"

namespace nerf_ssim {
namespace {

const dim3 kTileBlock(kTileX, kThreadRows);

bool is_tiled(const SsimGeometry& g) { return g.taps == kTaps && g.stride == 1; }
bool is_of_s3im(const SsimGeometry& g) { return g.taps == 4 && g.stride == 4; }

// Sides are kept in 32 bits, with room for a window beyond; numbers of pixels are not.
bool fits(const SsimGeometry& g) {
  constexpr int64_t kMost = 0x7FFFFFFF - 64;
  return g.height <= kMost && g.width <= kMost && g.stride <= kMost;
}

SsimPlaces places(const SsimGeometry& g) {
  const auto narrow = [](int64_t value) { return static_cast<int>(value); };
  return {g.planes,          narrow(g.height), narrow(g.width),  narrow(g.rows),
          narrow(g.columns), narrow(g.taps),   narrow(g.stride), narrow(g.before)};
}

template <bool kWantsMoments>
cudaError_t forward(const SsimGeometry& g, const float* x, const float* y, const ForwardTarget& target,
                    int64_t tile_rows, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(ssim_forward_blocks(g, tile_rows));
  if (is_tiled(g)) {
    const auto kernel = tile_rows == kTallTile ? ssim_tile_forward<kWantsMoments, kTallTile>
                                               : ssim_tile_forward<kWantsMoments, kFlatTile>;
    return NERF_SSIM_LAUNCH(kernel, blocks, kTileBlock, stream, x, y, places(g), taps_of(g), constants_of(g), target);
  }
  const auto kernel =
      is_of_s3im(g) ? ssim_direct_forward<4, 4, kWantsMoments> : ssim_direct_forward<0, 0, kWantsMoments>;
  return NERF_SSIM_LAUNCH(kernel, blocks, kDirectThreads, stream, x, y, places(g), taps_of(g), constants_of(g), target);
}

template <bool kWantsBoth>
cudaError_t adjoint(const SsimGeometry& g, const float* own, const float* other, const AdjointMaps& maps,
                    const float* scale, float factor, float* grad_own, float* grad_other, int64_t tile_rows,
                    cudaStream_t stream) {
  if (is_tiled(g)) {
    // Four maps need more shared memory, so that both gradients always come in flat tiles.
    constexpr int64_t kTallest = kWantsBoth ? kFlatTile : kTallTile;
    const bool is_tall = tile_rows == kTallest;
    const auto kernel = is_tall ? ssim_tile_adjoint<kWantsBoth, kTallest> : ssim_tile_adjoint<kWantsBoth, kFlatTile>;
    const unsigned tiles =
        is_tall ? tiles_of<kTallest>(g.planes, g.height, g.width) : tiles_of<kFlatTile>(g.planes, g.height, g.width);
    return NERF_SSIM_LAUNCH(kernel, tiles, kTileBlock, stream, own, other, places(g), taps_of(g), maps, scale, factor,
                            grad_own, grad_other);
  }
  const unsigned blocks = blocks_for(g.planes * g.height * g.width, kDirectThreads);
  const auto kernel = is_of_s3im(g) ? ssim_direct_adjoint<4, 4, kWantsBoth> : ssim_direct_adjoint<0, 0, kWantsBoth>;
  return NERF_SSIM_LAUNCH(kernel, blocks, kDirectThreads, stream, own, other, places(g), taps_of(g), maps, scale,
                          factor, grad_own, grad_other);
}

}  // namespace

int64_t ssim_forward_blocks(const SsimGeometry& g, int64_t tile_rows) {
  if (is_tiled(g))
    return tile_rows == kTallTile ? tiles_of<kTallTile>(g.planes, g.rows, g.columns)
                                  : tiles_of<kFlatTile>(g.planes, g.rows, g.columns);
  return blocks_for(g.planes * g.rows * g.columns, kDirectThreads);
}

bool ssim_can_recompute(const SsimGeometry& g) { return is_tiled(g); }

int launch_ssim_forward(const SsimGeometry& g, const float* x, const float* y, const SsimPartials<float>& by,
                        float* block_sums, float* mean, float* statistics, int64_t tile_rows, cudaStream_t stream) {
  if (!fits(g)) return cudaErrorInvalidConfiguration;
  const ForwardTarget target = {nullptr, by.mean_x, by.mean_y, by.square, by.product, block_sums};
  const cudaError_t error = forward<false>(g, x, y, target, tile_rows, stream);
  if (error != cudaSuccess) return error;
  const auto windows = static_cast<float>(g.planes * g.rows * g.columns);
  return NERF_SSIM_LAUNCH(mean_of_blocks, 1, kMeanThreads, stream, block_sums, ssim_forward_blocks(g, tile_rows),
                          windows, g.mix, false, mean, statistics);
}

int launch_ssim_moments(const SsimGeometry& g, const float* x, const float* y, float* moments, int64_t tile_rows,
                        cudaStream_t stream) {
  if (!fits(g)) return cudaErrorInvalidConfiguration;
  return forward<true>(g, x, y, {moments, nullptr, nullptr, nullptr, nullptr, nullptr}, tile_rows, stream);
}

int launch_ssim_adjoint(const SsimGeometry& g, const float* x, const float* y, const SsimPartials<const float>& by,
                        const float* scale, float factor, float* grad_x, float* grad_y, int64_t tile_rows,
                        cudaStream_t stream) {
  if (!fits(g)) return cudaErrorInvalidConfiguration;
  if (grad_x != nullptr && grad_y != nullptr)
    return adjoint<true>(g, x, y, {by.square, by.product, by.mean_x, by.mean_y}, scale, factor, grad_x, grad_y,
                         tile_rows, stream);
  if (grad_x != nullptr)
    return adjoint<false>(g, x, y, {by.square, by.product, by.mean_x, nullptr}, scale, factor, grad_x, nullptr,
                          tile_rows, stream);
  return adjoint<false>(g, y, x, {by.square, by.product, by.mean_y, nullptr}, scale, factor, grad_y, nullptr, tile_rows,
                        stream);
}

int launch_ssim_recompute(const SsimGeometry& g, const float* x, const float* y, const float* scale, float factor,
                          float* grad_x, float* grad_y, cudaStream_t stream) {
  if (!fits(g)) return cudaErrorInvalidConfiguration;
  const unsigned tiles = tiles_of<kRecomputeRows>(g.planes, g.height, g.width);
  const auto launch = [&](auto kernel, const float* own, const float* other, float* grad_own, float* grad_other) {
    return NERF_SSIM_LAUNCH(kernel, tiles, kTileBlock, stream, own, other, places(g), taps_of(g), constants_of(g),
                            scale, factor, grad_own, grad_other);
  };
  if (grad_x != nullptr && grad_y != nullptr) return launch(ssim_tile_recompute<true>, x, y, grad_x, grad_y);
  if (grad_x != nullptr) return launch(ssim_tile_recompute<false>, x, y, grad_x, nullptr);
  return launch(ssim_tile_recompute<false>, y, x, grad_y, nullptr);
}

}  // namespace nerf_ssim
