// Voxel grids, updated in two passes: total variation reads neighbours, so no value may move before all is added.
#include "../include/voxel_adam.h"

#include "chunks.cuh"
#include "launch.h"

namespace nerf_ssim {
namespace {

constexpr int kThreads = 256;

// A grid as lines along z, each cut into runs of kVoxelRun floats, of which the last may be shorter. Runs are counted
// in 32 bits, so that a thread finds its place with 32-bit divisions; a float's place has 64.
struct Runs {
  unsigned nodes_x, nodes_y, of_line, all;
  int64_t line, channels;  // floats of a line and of a node
};

// Where a chunk of kWidth floats stands.
struct Place {
  unsigned run, line;
  int64_t in_line, first;  // its first float, in its line and in the grid
  bool is_there;
};

// kVoxelRun / kWidth neighbouring threads own a run.
template <int kWidth>
__device__ __forceinline__ Place place_of_thread(const Runs& runs) {
  constexpr unsigned kLanes = kVoxelRun / kWidth;
  const unsigned run = blockIdx.x * (kThreads / kLanes) + threadIdx.x / kLanes, line = run / runs.of_line;
  const int64_t in_line = int64_t{run - line * runs.of_line} * kVoxelRun + threadIdx.x % kLanes * kWidth;
  return {run, line, in_line, line * runs.line + in_line, run < runs.all && in_line < runs.line};
}

__device__ __forceinline__ float pull(float here, float neighbour) {
  const float difference = here - neighbour;
  return difference < -1.0f ? -1.0f : difference > 1.0f ? 1.0f : difference;  // a NaN stays one
}

// Adds the pull of the chunk `apart` floats away, if it is there.
template <int kWidth>
__device__ __forceinline__ void add_pull(Chunk<kWidth>& along, const Chunk<kWidth>& here, const float* at,
                                         int64_t apart, bool is_there) {
  if (!is_there) return;
  const Chunk<kWidth> other = load<kWidth>(at + apart);
  for (int k = 0; k < kWidth; ++k) along.at[k] += pull(here.at[k], other.at[k]);
}

// One thread owns a chunk of neighbouring channels of a node.
template <int kWidth>
__global__ void __launch_bounds__(kThreads)
    add_voxel_tv(VoxelTv tv, Runs runs, const float* grid, float* grad, const uint8_t* touched) {
  const Place place = place_of_thread<kWidth>(runs);
  if (!place.is_there) return;
  // 1. a chunk without a gradient, in the sparse form, is at most read, and only its gradient
  const bool may_be_touched = !touched || touched[place.run];
  Chunk<kWidth> g = may_be_touched ? load<kWidth>(grad + place.first) : Chunk<kWidth>{};
  bool is_wanted = tv.is_dense;
  for (int k = 0; k < kWidth; ++k) is_wanted |= g.at[k] != 0.0f;
  if (!is_wanted) return;
  // 2. the neighbours that exist
  const unsigned x = place.line / runs.nodes_y, y = place.line - x * runs.nodes_y;
  const int64_t slab = runs.nodes_y * runs.line;
  const float* at = grid + place.first;
  const Chunk<kWidth> here = load<kWidth>(at);
  Chunk<kWidth> along[3]{};
  add_pull(along[0], here, at, -slab, x > 0);
  add_pull(along[0], here, at, slab, x + 1 < runs.nodes_x);
  add_pull(along[1], here, at, -runs.line, y > 0);
  add_pull(along[1], here, at, runs.line, y + 1 < runs.nodes_y);
  add_pull(along[2], here, at, -runs.channels, place.in_line >= runs.channels);
  add_pull(along[2], here, at, runs.channels, place.in_line + runs.channels < runs.line);
  // 3. added where it is wanted
  for (int k = 0; k < kWidth; ++k) {
    float sum = 0.0f;
    for (int axis = 0; axis < 3; ++axis) sum += tv.weights[axis] * along[axis].at[k];
    if (tv.is_dense || g.at[k] != 0.0f) g.at[k] += sum;
  }
  store(grad + place.first, g);
}

// One thread owns a chunk of neighbouring elements.
template <int kWidth>
__global__ void __launch_bounds__(kThreads) voxel_adam(AdamStep step, bool skip_zero, Runs runs, VoxelState state) {
  const Place place = place_of_thread<kWidth>(runs);
  if (!place.is_there) return;
  // 1. a run that is not touched is not looked at; of a chunk without any gradient only that is read
  if (state.touched && !state.touched[place.run]) return;
  const int64_t first = place.first;
  const Chunk<kWidth> g = load<kWidth>(state.grad + first);
  bool is_touched = !skip_zero;
  for (int k = 0; k < kWidth; ++k) is_touched |= g.at[k] != 0.0f;
  if (!is_touched) return;
  Chunk<kWidth> p = load<kWidth>(state.param + first), m = load<kWidth>(state.exp_avg + first);
  Chunk<kWidth> v = load<kWidth>(state.exp_avg_sq + first);
  for (int k = 0; k < kWidth; ++k) {
    if (skip_zero && g.at[k] == 0.0f) continue;
    // 2. the moments
    m.at[k] = fmaf(step.first_weight, g.at[k], m.at[k] * step.beta1);
    v.at[k] = fmaf(step.second_weight * g.at[k], g.at[k], v.at[k] * step.beta2);
    // 3. the move
    const float rate = state.rates ? state.rates[first + k] : 1.0f;
    p.at[k] -= rate * (step.step_size * m.at[k] / (sqrtf(v.at[k]) + step.eps));
  }
  store(state.param + first, p);
  store(state.exp_avg + first, m);
  store(state.exp_avg_sq + first, v);
  // 4. ready for the next gradient
  store(state.grad + first, Chunk<kWidth>{});
}

int64_t line_of(const VoxelShape& shape) { return shape.nodes[2] * shape.channels; }
int64_t count_of(const VoxelShape& shape) { return shape.nodes[0] * shape.nodes[1] * line_of(shape); }

Runs runs_of_grid(const VoxelShape& shape) {
  const int64_t lines = shape.nodes[0] * shape.nodes[1], of_line = runs_of(line_of(shape));
  return {static_cast<unsigned>(shape.nodes[0]),
          static_cast<unsigned>(shape.nodes[1]),
          static_cast<unsigned>(of_line),
          static_cast<unsigned>(lines * of_line),
          line_of(shape),
          shape.channels};
}

// All elements as one line.
Runs runs_of_count(int64_t count) {
  const unsigned runs = static_cast<unsigned>(runs_of(count));
  return {1, 1, runs, runs, count, count};
}

unsigned blocks_for_runs(const Runs& runs, int kWidth) { return blocks_for(runs.all, kThreads / (kVoxelRun / kWidth)); }

}  // namespace

int launch_add_voxel_tv(const VoxelTv& tv, const VoxelShape& shape, const float* grid, float* grad,
                        const uint8_t* touched, cudaStream_t stream) {
  if (count_of(shape) == 0) return cudaSuccess;
  const Runs runs = runs_of_grid(shape);
  const bool in_fours = comes_in_fours(shape.channels, grid, grad);
  const auto kernel = in_fours ? add_voxel_tv<4> : add_voxel_tv<1>;
  return NERF_SSIM_LAUNCH(kernel, blocks_for_runs(runs, in_fours ? 4 : 1), kThreads, stream, tv, runs, grid, grad,
                          touched);
}

int launch_voxel_adam(const AdamStep& step, bool skip_zero, const VoxelShape& shape, const VoxelState& state,
                      cudaStream_t stream) {
  const int64_t count = count_of(shape);
  if (count == 0) return cudaSuccess;
  const Runs runs = state.touched ? runs_of_grid(shape) : runs_of_count(count);
  const bool in_fours = comes_in_fours(runs.line, state.param, state.grad, state.exp_avg, state.exp_avg_sq);
  const auto kernel = in_fours ? voxel_adam<4> : voxel_adam<1>;
  return NERF_SSIM_LAUNCH(kernel, blocks_for_runs(runs, in_fours ? 4 : 1), kThreads, stream, step, skip_zero, runs,
                          state);
}

}  // namespace nerf_ssim
