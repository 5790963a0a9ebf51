// Launchers of the SSIM kernels: the 11x11 window at stride 1 goes tile by tile, the others thread by thread.
#include "../include/ssim.h"

#include "ssim_direct.cuh"
#include "ssim_recompute.cuh"
#include "ssim_tile.cuh"

namespace nerf_ssim {
namespace {

const dim3 kTileBlock(kTileX, kThreadRows);

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

template <bool kWantsMoments, bool kWantsError>
cudaError_t tile_forward(const SsimGeometry& g, const float* x, const float* y, int64_t power,
                         const ForwardTarget& target, int64_t tile_rows, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(ssim_forward_blocks(g, tile_rows));
  const auto kernel = tile_rows == kTallTile ? ssim_tile_forward<kWantsMoments, kWantsError, kTallTile>
                                             : ssim_tile_forward<kWantsMoments, kWantsError, kFlatTile>;
  return NERF_SSIM_LAUNCH(kernel, blocks, kTileBlock, stream, x, y, places(g), taps_of(g), constants_of(g), power,
                          target);
}

template <bool kWantsMoments>
cudaError_t forward(const SsimGeometry& g, const float* x, const float* y, const ForwardTarget& target,
                    int64_t tile_rows, cudaStream_t stream) {
  if (ssim_is_tiled(g)) return tile_forward<kWantsMoments, false>(g, x, y, 0, target, tile_rows, stream);
  const auto blocks = static_cast<unsigned>(ssim_forward_blocks(g, tile_rows));
  const auto kernel =
      is_of_s3im(g) ? ssim_direct_forward<4, 4, kWantsMoments> : ssim_direct_forward<0, 0, kWantsMoments>;
  return NERF_SSIM_LAUNCH(kernel, blocks, kDirectThreads, stream, x, y, places(g), taps_of(g), constants_of(g), target);
}

// What a gradient is taken of, times *scale: factor * sum of the index + error_factor * sum of |x - y|^power.
struct Upstream {
  const float* scale;
  float factor;
  int64_t power;
  float error_factor;
};

template <bool kWantsBoth, bool kWantsError>
cudaError_t tile_adjoint(const SsimGeometry& g, const float* own, const float* other, const AdjointMaps& maps,
                         const Upstream& up, float* grad_own, float* grad_other, int64_t tile_rows,
                         cudaStream_t stream) {
  // Four maps need more shared memory, so that both gradients always come in flat tiles.
  constexpr int64_t kTallest = kWantsBoth ? kFlatTile : kTallTile;
  const bool is_tall = tile_rows == kTallest;
  const auto kernel = is_tall ? ssim_tile_adjoint<kWantsBoth, kWantsError, kTallest>
                              : ssim_tile_adjoint<kWantsBoth, kWantsError, kFlatTile>;
  const unsigned tiles =
      is_tall ? tiles_of<kTallest>(g.planes, g.height, g.width) : tiles_of<kFlatTile>(g.planes, g.height, g.width);
  return NERF_SSIM_LAUNCH(kernel, tiles, kTileBlock, stream, own, other, places(g), taps_of(g), maps, up.scale,
                          up.factor, up.power, up.error_factor, grad_own, grad_other);
}

template <bool kWantsBoth>
cudaError_t adjoint(const SsimGeometry& g, const float* own, const float* other, const AdjointMaps& maps,
                    const Upstream& up, float* grad_own, float* grad_other, int64_t tile_rows, cudaStream_t stream) {
  if (up.power > 0)
    return tile_adjoint<kWantsBoth, true>(g, own, other, maps, up, grad_own, grad_other, tile_rows, stream);
  if (ssim_is_tiled(g))
    return tile_adjoint<kWantsBoth, false>(g, own, other, maps, up, grad_own, grad_other, tile_rows, stream);
  const unsigned blocks = blocks_for(g.planes * g.height * g.width, kDirectThreads);
  const auto kernel = is_of_s3im(g) ? ssim_direct_adjoint<4, 4, kWantsBoth> : ssim_direct_adjoint<0, 0, kWantsBoth>;
  return NERF_SSIM_LAUNCH(kernel, blocks, kDirectThreads, stream, own, other, places(g), taps_of(g), maps, up.scale,
                          up.factor, grad_own, grad_other);
}

// Of both images, or of one as the own one.
int wanted_adjoint(const SsimGeometry& g, const float* x, const float* y, const SsimPartials<const float>& by,
                   const Upstream& up, float* grad_x, float* grad_y, int64_t tile_rows, cudaStream_t stream) {
  if (grad_x != nullptr && grad_y != nullptr)
    return adjoint<true>(g, x, y, {by.square, by.product, by.mean_x, by.mean_y}, up, grad_x, grad_y, tile_rows, stream);
  if (grad_x != nullptr)
    return adjoint<false>(g, x, y, {by.square, by.product, by.mean_x, nullptr}, up, grad_x, nullptr, tile_rows, stream);
  return adjoint<false>(g, y, x, {by.square, by.product, by.mean_y, nullptr}, up, grad_y, nullptr, tile_rows, stream);
}

float windows_of(const SsimGeometry& g) { return static_cast<float>(g.planes * g.rows * g.columns); }
float pixels_of(const SsimGeometry& g) { return static_cast<float>(g.planes * g.height * g.width); }

}  // namespace

int64_t ssim_forward_blocks(const SsimGeometry& g, int64_t tile_rows) {
  if (ssim_is_tiled(g))
    return tile_rows == kTallTile ? tiles_of<kTallTile>(g.planes, g.rows, g.columns)
                                  : tiles_of<kFlatTile>(g.planes, g.rows, g.columns);
  return blocks_for(g.planes * g.rows * g.columns, kDirectThreads);
}

bool ssim_is_tiled(const SsimGeometry& g) { return g.taps == kTaps && g.stride == 1; }

int launch_ssim_forward(const SsimGeometry& g, const float* x, const float* y, const SsimPartials<float>& by,
                        float* block_sums, float* mean, float* statistics, int64_t tile_rows, cudaStream_t stream) {
  if (!fits(g)) return cudaErrorInvalidConfiguration;
  const ForwardTarget target = {nullptr, by.mean_x, by.mean_y, by.square, by.product, block_sums};
  const cudaError_t error = forward<false>(g, x, y, target, tile_rows, stream);
  if (error != cudaSuccess) return error;
  const Combination of_means = {g.mix, windows_of(g), 1.f, 0.f, 1.f, 0.f};
  return NERF_SSIM_LAUNCH(mean_of_blocks<kStatistics>, 1, kMeanThreads, stream, block_sums,
                          ssim_forward_blocks(g, tile_rows), of_means, mean, statistics);
}

int launch_ssim_loss(const SsimGeometry& g, const float* x, const float* y, const SsimPartials<float>& by,
                     const SsimLoss& loss, float* block_sums, float* value, int64_t tile_rows, cudaStream_t stream) {
  if (!fits(g) || !ssim_is_tiled(g)) return cudaErrorInvalidConfiguration;
  const ForwardTarget target = {nullptr, by.mean_x, by.mean_y, by.square, by.product, block_sums};
  const cudaError_t error = tile_forward<false, true>(g, x, y, loss.power, target, tile_rows, stream);
  if (error != cudaSuccess) return error;
  const Combination of_means = {g.mix,          windows_of(g), pixels_of(g), loss.by_index * total_of(g.mix),
                                -loss.by_index, loss.by_error};
  return NERF_SSIM_LAUNCH(mean_of_blocks<kLossSums>, 1, kMeanThreads, stream, block_sums,
                          ssim_forward_blocks(g, tile_rows), of_means, value, static_cast<float*>(nullptr));
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
  return wanted_adjoint(g, x, y, by, {scale, factor, 0, 0.f}, grad_x, grad_y, tile_rows, stream);
}

int launch_ssim_loss_adjoint(const SsimGeometry& g, const float* x, const float* y, const SsimPartials<const float>& by,
                             const SsimLoss& loss, const float* scale, float* grad_x, float* grad_y, int64_t tile_rows,
                             cudaStream_t stream) {
  if (!fits(g) || !ssim_is_tiled(g)) return cudaErrorInvalidConfiguration;
  const Upstream up = {scale, -loss.by_index / windows_of(g), loss.power, loss.by_error / pixels_of(g)};
  return wanted_adjoint(g, x, y, by, up, grad_x, grad_y, tile_rows, stream);
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
