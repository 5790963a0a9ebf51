// The CP grid, forward and backward: four lanes own a sample (see grid.cuh).
#include "grid.cuh"
#include "launch.h"

namespace nerf_ssim {
namespace {

constexpr int kThreads = 128;
constexpr int kSamplesPerBlock = kThreads / kGroup;
constexpr int kBlocksAtOnce = 7;          // on a multiprocessor: at most 72 registers a thread
constexpr int kBlocksAtOnceBackward = 6;  // 80 registers

template <int kWidth>
__device__ __forceinline__ Chunk<kWidth> cp_line(const CpGrid& grid, int axis, const Tap& tap, int channel) {
  return line_at<kWidth>(grid.lines[axis], tap, static_cast<int>(grid.channels), channel);
}

template <int kWidth, bool kFeatures>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    cp_forward(CpGrid grid, const float* coords, int64_t samples, float* out) {
  const int64_t sample = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / kGroup;
  const int place = threadIdx.x % kGroup, channels = static_cast<int>(grid.channels);
  const bool is_sample = sample < samples;
  // 1. where the sample lies; lanes beyond the last one repeat it
  const Point point = point_at(coords, min(sample, samples - 1));
  const Tap x = find_tap(point.along[0], grid.nodes[0]);
  const Tap y = find_tap(point.along[1], grid.nodes[1]);
  const Tap z = find_tap(point.along[2], grid.nodes[2]);
  // 2. the products of the lane's channels
  float sum = 0.0f;
#pragma unroll 1  // a second turn in flight would need more registers than it hides latency
  for (int k = place * kWidth; k < channels; k += kGroup * kWidth) {
    const Chunk<kWidth> value = product(product(cp_line<kWidth>(grid, 0, x, k), cp_line<kWidth>(grid, 1, y, k)),
                                        cp_line<kWidth>(grid, 2, z, k));
    if constexpr (kFeatures) {
      if (is_sample) store(out + sample * channels + k, value);
    } else {
      for (int i = 0; i < kWidth; ++i) sum += value.at[i];
    }
  }
  // 3. the four lanes
  if constexpr (!kFeatures) {
    for (int offset = 1; offset < kGroup; offset *= 2) sum += __shfl_xor_sync(kWholeWarp, sum, offset);
    if (is_sample && place == 0) out[sample] = sum;
  }
}

// All lanes of the warp go through the loop together, because gradients are added up between them.
template <int kWidth, bool kFeatures>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnceBackward)
    cp_backward(CpGrid grid, const float* coords, int64_t samples, const float* grad, CpGradient gradient) {
  const int64_t sample = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / kGroup;
  const int channels = static_cast<int>(grid.channels);
  const bool is_sample = sample < samples;
  const int64_t s = is_sample ? sample : samples - 1;
  // 1. where the sample lies, and which of its neighbours lie between the same nodes
  const Point point = point_at(coords, s);
  const Tap x = find_tap(point.along[0], grid.nodes[0]);
  const Tap y = find_tap(point.along[1], grid.nodes[1]);
  const Tap z = find_tap(point.along[2], grid.nodes[2]);
  const Segment along_x = segment_of<kGroup>(is_sample ? x.node : -2);
  const Segment along_y = segment_of<kGroup>(is_sample ? y.node : -2);
  const Segment along_z = segment_of<kGroup>(is_sample ? z.node : -2);
  const float* row = grad + s * (kFeatures ? channels : 1);
#pragma unroll 1
  for (int first = 0; first < channels; first += kGroup * kWidth) {
    const int k = first + threadIdx.x % kGroup * kWidth;
    // 2. product rule
    Chunk<kWidth> to_x{}, to_y{}, to_z{};
    if (k < channels) {
      const Chunk<kWidth> at_x = cp_line<kWidth>(grid, 0, x, k), at_y = cp_line<kWidth>(grid, 1, y, k);
      const Chunk<kWidth> at_z = cp_line<kWidth>(grid, 2, z, k);
      const Chunk<kWidth> upstream = upstream_at<kWidth, kFeatures>(row, k);
      to_x = product(product(upstream, at_y), at_z);
      to_y = product(product(upstream, at_x), at_z);
      to_z = product(product(upstream, at_x), at_y);
    }
    // 3. to the nodes
    add_to_line(gradient.lines[0], x, channels, first, to_x, along_x, is_sample);
    add_to_line(gradient.lines[1], y, channels, first, to_y, along_y, is_sample);
    add_to_line(gradient.lines[2], z, channels, first, to_z, along_z, is_sample);
  }
}

}  // namespace

int launch_cp(const CpGrid& grid, const float* coords, int64_t samples, bool is_features, float* out,
              cudaStream_t stream) {
  if (samples == 0) return cudaSuccess;
  const bool in_fours = comes_in_fours(grid.channels, grid.lines[0], grid.lines[1], grid.lines[2]) &&
                        (!is_features || comes_in_fours(grid.channels, out));
  const auto density = in_fours ? cp_forward<4, false> : cp_forward<1, false>;
  const auto features = in_fours ? cp_forward<4, true> : cp_forward<1, true>;
  return NERF_SSIM_LAUNCH(is_features ? features : density, blocks_for(samples, kSamplesPerBlock), kThreads, stream,
                          grid, coords, samples, out);
}

int launch_cp_backward(const CpGrid& grid, const float* coords, int64_t samples, const float* grad, bool is_features,
                       const CpGradient& gradient, cudaStream_t stream) {
  if (samples == 0) return cudaSuccess;
  bool in_fours = !is_features || comes_in_fours(grid.channels, grad);
  for (int axis = 0; axis < 3; ++axis)
    in_fours &= comes_in_fours(grid.channels, grid.lines[axis], gradient.lines[axis]);
  const auto density = in_fours ? cp_backward<4, false> : cp_backward<1, false>;
  const auto features = in_fours ? cp_backward<4, true> : cp_backward<1, true>;
  return NERF_SSIM_LAUNCH(is_features ? features : density, blocks_for(samples, kSamplesPerBlock), kThreads, stream,
                          grid, coords, samples, grad, gradient);
}

}  // namespace nerf_ssim
