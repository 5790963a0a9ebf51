// Dense voxel grids, forward and backward: a thread owns a chunk of neighbouring channels of one sample, so that
// neighbouring threads read neighbouring memory. Places inside a block have 32 bits, in which division is cheap.
#include "../include/voxels.h"

#include "grid.cuh"
#include "launch.h"

namespace nerf_ssim {
namespace {

constexpr int kThreads = 256;
constexpr int kCorners = 8;

__host__ __device__ __forceinline__ int64_t nodes_of(const VoxelShape& shape) {
  return shape.nodes[0] * shape.nodes[1] * shape.nodes[2];
}

// The two nodes around a sample along each axis.
struct VoxelTaps {
  Tap axis[3];
};

__device__ __forceinline__ VoxelTaps taps_at(const VoxelShape& shape, const float* coords, int64_t sample) {
  VoxelTaps taps;
  for (int axis = 0; axis < 3; ++axis) taps.axis[axis] = find_tap(coords[3 * sample + axis], shape.nodes[axis]);
  return taps;
}

// Corner bits: 4 is far along x, 2 along y, 1 along z.
__device__ __forceinline__ float corner_weight(const VoxelTaps& taps, int corner) {
  const float x = corner & 4 ? taps.axis[0].far_weight : taps.axis[0].near_weight;
  const float y = corner & 2 ? taps.axis[1].far_weight : taps.axis[1].near_weight;
  const float z = corner & 1 ? taps.axis[2].far_weight : taps.axis[2].near_weight;
  return x * y * z;
}

// The eight corners of a sample's cell: the line along z and the node in it of the nearest one, and the steps to
// others.
struct VoxelCell {
  int64_t line, step_x, step_y, near_z, far_z;  // in lines; in floats of a line

  __device__ __forceinline__ VoxelCell(const VoxelShape& shape, const VoxelTaps& taps)
      : line(taps.axis[0].near * shape.nodes[1] + taps.axis[1].near),
        step_x((taps.axis[0].far - taps.axis[0].near) * shape.nodes[1]),
        step_y(taps.axis[1].far - taps.axis[1].near),
        near_z(taps.axis[2].near * shape.channels),
        far_z(taps.axis[2].far * shape.channels) {}

  __device__ __forceinline__ int64_t line_of(int corner) const {
    return line + (corner & 4 ? step_x : 0) + (corner & 2 ? step_y : 0);
  }
  __device__ __forceinline__ int64_t in_line(int corner) const { return corner & 1 ? far_z : near_z; }
};

// Notes that the run of a float of a line has a gradient.
__device__ __forceinline__ void touch(uint8_t* touched, const VoxelShape& shape, int64_t line, int64_t in_line) {
  const int64_t runs = (shape.nodes[2] * shape.channels + kVoxelRun - 1) / kVoxelRun;
  if (touched) __stcg(touched + line * runs + in_line / kVoxelRun, uint8_t{1});
}

// A block owns kThreads samples, a thread chunks of theirs.
template <int kWidth>
__global__ void __launch_bounds__(kThreads)
    voxel_features(VoxelShape shape, const float* grid, const float* coords, int64_t samples, float* out) {
  const int chunks = static_cast<int>(shape.channels) / kWidth;
  const int64_t first = int64_t{blockIdx.x} * kThreads, line = shape.nodes[2] * shape.channels;
  const int here = static_cast<int>(min(int64_t{kThreads}, samples - first));
  for (int i = threadIdx.x; i < here * chunks; i += kThreads) {
    const int64_t sample = first + i / chunks;
    const int channel = i % chunks * kWidth;
    const VoxelTaps taps = taps_at(shape, coords, sample);
    const VoxelCell cell(shape, taps);
    Chunk<kWidth> sum{};
#pragma unroll
    for (int corner = 0; corner < kCorners; ++corner) {
      const Chunk<kWidth> value = load<kWidth>(grid + cell.line_of(corner) * line + cell.in_line(corner) + channel);
      const float weight = corner_weight(taps, corner);
      for (int k = 0; k < kWidth; ++k) sum.at[k] += value.at[k] * weight;
    }
    store(out + sample * shape.channels + channel, sum);
  }
}

template <int kWidth>
__global__ void __launch_bounds__(kThreads) add_voxel_gradient(VoxelShape shape, const float* coords, int64_t samples,
                                                               const float* grad, float* gradient, uint8_t* touched) {
  const int chunks = static_cast<int>(shape.channels) / kWidth;
  const int64_t first = int64_t{blockIdx.x} * kThreads, line = shape.nodes[2] * shape.channels;
  const int here = static_cast<int>(min(int64_t{kThreads}, samples - first));
  for (int i = threadIdx.x; i < here * chunks; i += kThreads) {
    const int64_t sample = first + i / chunks;
    const int channel = i % chunks * kWidth;
    // 1. a sample that nothing depends on, of which a density has many, adds nothing
    const Chunk<kWidth> upstream = load<kWidth>(grad + sample * shape.channels + channel);
    bool is_wanted = false;
    for (int k = 0; k < kWidth; ++k) is_wanted |= upstream.at[k] != 0.0f;
    if (!is_wanted) continue;
    // 2. the others add to their eight corners, those inside the grid
    const VoxelTaps taps = taps_at(shape, coords, sample);
    const VoxelCell cell(shape, taps);
#pragma unroll
    for (int corner = 0; corner < kCorners; ++corner) {
      const float weight = corner_weight(taps, corner);
      if (weight == 0.0f) continue;
      const int64_t of_corner = cell.line_of(corner), in_line = cell.in_line(corner) + channel;
      add_atomically(gradient + of_corner * line + in_line, product(upstream, weight));
      touch(touched, shape, of_corner, in_line);
    }
  }
}

// One thread owns a sample. Node -1, before an axis's first, is cell 0.
__global__ void __launch_bounds__(kThreads)
    voxel_cells(VoxelShape shape, const float* coords, int64_t samples, int64_t* cells) {
  for (int64_t s = int64_t{blockIdx.x} * kThreads + threadIdx.x; s < samples; s += int64_t{gridDim.x} * kThreads) {
    const VoxelTaps taps = taps_at(shape, coords, s);
    int64_t cell = 0;
    for (int axis = 0; axis < 3; ++axis) cell = cell * (shape.nodes[axis] + 2) + taps.axis[axis].node + 1;
    cells[s] = cell;
  }
}

// One thread owns a chunk of a node's channels and visits the samples of the eight cells around it: of those before it
// the node is the far corner, of its own the near one.
template <int kWidth>
__global__ void __launch_bounds__(kThreads)
    gather_voxel_gradient(VoxelShape shape, const float* coords, const float* grad, const int64_t* order,
                          const int64_t* starts, float* gradient, uint8_t* touched) {
  const int64_t chunks = shape.channels / kWidth, total = nodes_of(shape) * chunks;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < total; i += int64_t{gridDim.x} * kThreads) {
    const int64_t node = i / chunks, channel = i % chunks * kWidth;
    const int64_t z = node % shape.nodes[2], y = node / shape.nodes[2] % shape.nodes[1];
    const int64_t x = node / shape.nodes[2] / shape.nodes[1];
    Chunk<kWidth> sum{};
    for (int corner = 0; corner < kCorners; ++corner) {
      // 1. the cell of which the node is this corner
      const int64_t cell_x = x + (corner & 4 ? 0 : 1), cell_y = y + (corner & 2 ? 0 : 1);
      const int64_t cell_z = z + (corner & 1 ? 0 : 1);
      const int64_t cell = (cell_x * (shape.nodes[1] + 2) + cell_y) * (shape.nodes[2] + 2) + cell_z;
      // 2. its samples
      for (int64_t place = starts[cell]; place < starts[cell + 1]; ++place) {
        const int64_t sample = order[place];
        const float weight = corner_weight(taps_at(shape, coords, sample), corner);
        const Chunk<kWidth> upstream = load<kWidth>(grad + sample * shape.channels + channel);
        for (int k = 0; k < kWidth; ++k) sum.at[k] += upstream.at[k] * weight;
      }
    }
    // 3. added to what is there, and noted
    bool is_touched = false;
    for (int k = 0; k < kWidth; ++k) is_touched |= sum.at[k] != 0.0f;
    if (!is_touched) continue;
    touch(touched, shape, node / shape.nodes[2], z * shape.channels + channel);
    float* to = gradient + node * shape.channels + channel;
    const Chunk<kWidth> before = load<kWidth>(to);
    for (int k = 0; k < kWidth; ++k) sum.at[k] += before.at[k];
    store(to, sum);
  }
}

}  // namespace

int launch_voxel_features(const VoxelShape& shape, const float* grid, const float* coords, int64_t samples, float* out,
                          cudaStream_t stream) {
  if (samples * shape.channels == 0) return cudaSuccess;
  const bool in_fours = comes_in_fours(shape.channels, grid, out);
  const auto kernel = in_fours ? voxel_features<4> : voxel_features<1>;
  return NERF_SSIM_LAUNCH(kernel, blocks_for(samples, kThreads), kThreads, stream, shape, grid, coords, samples, out);
}

int launch_add_voxel_gradient(const VoxelShape& shape, const float* coords, int64_t samples, const float* grad,
                              float* gradient, uint8_t* touched, cudaStream_t stream) {
  if (samples * shape.channels == 0) return cudaSuccess;
  const bool in_fours = comes_in_fours(shape.channels, grad, gradient);
  const auto kernel = in_fours ? add_voxel_gradient<4> : add_voxel_gradient<1>;
  return NERF_SSIM_LAUNCH(kernel, blocks_for(samples, kThreads), kThreads, stream, shape, coords, samples, grad,
                          gradient, touched);
}

int launch_voxel_cells(const VoxelShape& shape, const float* coords, int64_t samples, int64_t* cells,
                       cudaStream_t stream) {
  if (samples == 0) return cudaSuccess;
  return NERF_SSIM_LAUNCH(voxel_cells, blocks_for(samples, kThreads), kThreads, stream, shape, coords, samples, cells);
}

int launch_gather_voxel_gradient(const VoxelShape& shape, const float* coords, const float* grad, const int64_t* order,
                                 const int64_t* starts, float* gradient, uint8_t* touched, cudaStream_t stream) {
  if (nodes_of(shape) * shape.channels == 0) return cudaSuccess;
  const bool in_fours = comes_in_fours(shape.channels, grad, gradient);
  const auto kernel = in_fours ? gather_voxel_gradient<4> : gather_voxel_gradient<1>;
  const int64_t threads = nodes_of(shape) * shape.channels / (in_fours ? 4 : 1);
  return NERF_SSIM_LAUNCH(kernel, blocks_for(threads, kThreads), kThreads, stream, shape, coords, grad, order, starts,
                          gradient, touched);
}

}  // namespace nerf_ssim
