// The VM grid, forward and backward: four lanes own a sample (see grid.cuh).
#include "grid.cuh"
#include "launch.h"

namespace nerf_ssim {
namespace {

constexpr int kThreads = 128;
constexpr int kSamplesPerBlock = kThreads / kGroup;
constexpr int kBlocksAtOnce = 7;  // on a multiprocessor: at most 72 registers a thread
constexpr unsigned kOrientations = 3;

template <int m>
__device__ __forceinline__ PlaneCell vm_plane_cell(const VmGrid& grid, const Point& point) {
  constexpr int u = kAxisU[m], v = kAxisV[m];
  return plane_cell(find_tap(point.along[u], grid.nodes[u]), find_tap(point.along[v], grid.nodes[v]),
                    static_cast<int>(grid.nodes[u]), static_cast<int>(grid.channels[m]));
}

template <int m>
__device__ __forceinline__ Tap vm_line_tap(const VmGrid& grid, const Point& point) {
  constexpr int w = kAxisW[m];
  return find_tap(point.along[w], grid.nodes[w]);
}

// Orientation m of one sample: the products of the lane's chunks go to `row` (features) or are added up (density).
template <int m, int kWidth, bool kFeatures>
__device__ __forceinline__ void vm_orientation(const VmGrid& grid, const Point& point, float* row, float& sum) {
  const int channels = static_cast<int>(grid.channels[m]);
  const PlaneCell cell = vm_plane_cell<m>(grid, point);
  const Tap w = vm_line_tap<m>(grid, point);
#pragma unroll 1  // a second turn in flight would need more registers than it hides latency
  for (int k = threadIdx.x % kGroup * kWidth; k < channels; k += kGroup * kWidth) {
    const Chunk<kWidth> value =
        product(plane_at<kWidth>(grid.planes[m], cell, k), line_at<kWidth>(grid.lines[m], w, channels, k));
    if constexpr (kFeatures)
      store(row + k, value);
    else
      for (int i = 0; i < kWidth; ++i) sum += value.at[i];
  }
}

template <int kWidth>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    vm_density(VmGrid grid, const float* coords, int64_t samples, float* out) {
  const int64_t sample = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / kGroup;
  // 1. where the sample lies; lanes beyond the last one repeat it
  const Point point = point_at(coords, min(sample, samples - 1));
  // 2. the lane's channels of all orientations
  float sum = 0.0f;
  vm_orientation<0, kWidth, false>(grid, point, nullptr, sum);
  vm_orientation<1, kWidth, false>(grid, point, nullptr, sum);
  vm_orientation<2, kWidth, false>(grid, point, nullptr, sum);
  // 3. the four lanes
  for (int offset = 1; offset < kGroup; offset *= 2) sum += __shfl_xor_sync(kWholeWarp, sum, offset);
  if (sample < samples && threadIdx.x % kGroup == 0) out[sample] = sum;
}

template <int kWidth>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    vm_features(VmGrid grid, const float* coords, int64_t samples, float* out) {
  const int64_t sample = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / kGroup;
  if (sample >= samples) return;
  const Point point = point_at(coords, sample);
  const int64_t second = grid.channels[0], third = second + grid.channels[1], width = third + grid.channels[2];
  float* row = out + sample * width;
  float unused = 0.0f;
  vm_orientation<0, kWidth, true>(grid, point, row, unused);
  vm_orientation<1, kWidth, true>(grid, point, row + second, unused);
  vm_orientation<2, kWidth, true>(grid, point, row + third, unused);
}

// The gradients of orientation m, of the lane's chunks. All lanes of the warp go through the loop together, because the
// line's gradients are added up between them.
template <int m, int kWidth, bool kFeatures>
__device__ __forceinline__ void vm_orientation_backward(const VmGrid& grid, const Point& point, bool is_sample,
                                                        const float* grad, const VmGradient& gradient) {
  const int channels = static_cast<int>(grid.channels[m]);
  const PlaneCell cell = vm_plane_cell<m>(grid, point);
  const Tap w = vm_line_tap<m>(grid, point);
  const Segment segment = segment_of<kGroup>(is_sample ? w.node : -2);
#pragma unroll 1
  for (int first = 0; first < channels; first += kGroup * kWidth) {
    const int k = first + threadIdx.x % kGroup * kWidth;
    Chunk<kWidth> to_line{}, to_plane{};
    if (k < channels) {
      const Chunk<kWidth> upstream = upstream_at<kWidth, kFeatures>(grad, k);
      to_line = product(upstream, plane_at<kWidth>(grid.planes[m], cell, k));
      to_plane = product(upstream, line_at<kWidth>(grid.lines[m], w, channels, k));
    }
    const Addends<kWidth> to_corners = addends(to_plane);
    for (int corner = 0; corner < 4; ++corner)
      add_to_row(gradient.planes[m], is_sample ? cell.near + cell.step[corner] + first : -1, channels - first,
                 to_corners, cell.weight[corner]);
    add_to_line(gradient.lines[m], w, channels, first, to_line, segment, is_sample);
  }
}

// Row y of the grid of blocks takes orientation y, whose additions no other row shares.
template <int kWidth, bool kFeatures>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    vm_backward(VmGrid grid, const float* coords, int64_t samples, const float* grad, VmGradient gradient) {
  const int64_t sample = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / kGroup;
  const bool is_sample = sample < samples;
  const int64_t s = is_sample ? sample : samples - 1;
  const Point point = point_at(coords, s);
  const int64_t second = kFeatures ? grid.channels[0] : 0, third = kFeatures ? second + grid.channels[1] : 0;
  const float* row = grad + s * (kFeatures ? third + grid.channels[2] : 1);
  if (blockIdx.y == 0)
    vm_orientation_backward<0, kWidth, kFeatures>(grid, point, is_sample, row, gradient);
  else if (blockIdx.y == 1)
    vm_orientation_backward<1, kWidth, kFeatures>(grid, point, is_sample, row + second, gradient);
  else
    vm_orientation_backward<2, kWidth, kFeatures>(grid, point, is_sample, row + third, gradient);
}

// Whether every run of channels can be taken four at a time, in the grid and in the arrays of its shape.
template <class... Arrays>
bool vm_comes_in_fours(const VmGrid& grid, const Arrays*... arrays) {
  bool holds = true;
  for (int m = 0; m < 3; ++m) holds &= comes_in_fours(grid.channels[m], grid.planes[m], grid.lines[m], arrays...);
  return holds;
}

}  // namespace

int launch_vm(const VmGrid& grid, const float* coords, int64_t samples, bool is_features, float* out,
              cudaStream_t stream) {
  if (samples == 0) return cudaSuccess;
  const bool in_fours = is_features ? vm_comes_in_fours(grid, out) : vm_comes_in_fours(grid);
  const auto density = in_fours ? vm_density<4> : vm_density<1>;
  const auto features = in_fours ? vm_features<4> : vm_features<1>;
  return NERF_SSIM_LAUNCH(is_features ? features : density, blocks_for(samples, kSamplesPerBlock), kThreads, stream,
                          grid, coords, samples, out);
}

int launch_vm_backward(const VmGrid& grid, const float* coords, int64_t samples, const float* grad, bool is_features,
                       const VmGradient& gradient, cudaStream_t stream) {
  if (samples == 0) return cudaSuccess;
  bool in_fours = !is_features || comes_in_fours(0, grad);
  for (int m = 0; m < 3; ++m) in_fours &= vm_comes_in_fours(grid, gradient.planes[m], gradient.lines[m]);
  const auto density = in_fours ? vm_backward<4, false> : vm_backward<1, false>;
  const auto features = in_fours ? vm_backward<4, true> : vm_backward<1, true>;
  const dim3 blocks(blocks_for(samples, kSamplesPerBlock), kOrientations);
  return NERF_SSIM_LAUNCH(is_features ? features : density, blocks, kThreads, stream, grid, coords, samples, grad,
                          gradient);
}

}  // namespace nerf_ssim
