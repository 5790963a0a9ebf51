// The grids' backward passes in a fixed order: a warp owns a node of a plane or line and visits the samples around it.
#include "grid.cuh"
#include "launch.h"

namespace nerf_ssim {
namespace {

constexpr int kThreads = 128;
constexpr int kBlocksAtOnce = 8;  // on a multiprocessor: at most 64 registers a thread
constexpr int kNodesPerBlock = kThreads / kWarpLanes;
constexpr int kGroups = kWarpLanes / kGroup;
constexpr int kNoAxis = -1;  // of a line, which has nodes along axis v alone

// The nodes of a plane or line, and the samples by cell.
struct Nodes {
  int axis_v, axis_u;
  int64_t n_v, n_u;
  int channels;
  const int64_t* order;
  const int64_t* starts;
};

// A coordinate of a point, chosen at run time without an array in local memory.
__device__ __forceinline__ float along(const Point& point, int axis) {
  return axis == 0 ? point.along[0] : axis == 1 ? point.along[1] : point.along[2];
}

// What multiplies a plane's node in a sample's product: the line of the same orientation.
struct VmLineFactor {
  const float* line;
  int axis;
  int64_t nodes;
  int channels;

  template <int kWidth>
  __device__ __forceinline__ Chunk<kWidth> at(const Point& point, int channel) const {
    return line_at<kWidth>(line, find_tap(along(point, axis), nodes), channels, channel);
  }
};

// What multiplies a VM line's node: the plane.
struct VmPlaneFactor {
  const float* plane;
  int axis_v, axis_u;
  int64_t n_v, n_u;
  int channels;

  template <int kWidth>
  __device__ __forceinline__ Chunk<kWidth> at(const Point& point, int channel) const {
    const Tap v = find_tap(along(point, axis_v), n_v), u = find_tap(along(point, axis_u), n_u);
    return plane_at<kWidth>(plane, plane_cell(u, v, static_cast<int>(n_u), channels), channel);
  }
};

// What multiplies a CP line's node: the two other lines.
struct CpFactor {
  VmLineFactor first, second;

  template <int kWidth>
  __device__ __forceinline__ Chunk<kWidth> at(const Point& point, int channel) const {
    return product(first.at<kWidth>(point, channel), second.at<kWidth>(point, channel));
  }
};

// One thread owns a sample. Node -1, before the first, is cell 0.
__global__ void __launch_bounds__(kThreads) grid_cells(const float* coords, int64_t samples, int axis_v,
                                                       int64_t nodes_v, int axis_u, int64_t nodes_u, int64_t* cells) {
  const int64_t s = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (s >= samples) return;
  int64_t cell = find_tap(coords[3 * s + axis_v], nodes_v).node + 1;
  if (axis_u != kNoAxis) cell = cell * (nodes_u + 2) + find_tap(coords[3 * s + axis_u], nodes_u).node + 1;
  cells[s] = cell;
}

// One warp owns a node. Its groups of four lanes take the samples of a cell in turn, lane i of a group the chunks of
// channels i, i + 4, ...
template <int kWidth, bool kFeatures, class Factor>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    gather_node(Nodes nodes, Factor factor, const float* coords, const float* grad, int64_t grad_stride,
                float* gradient) {
  const int64_t node = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / kWarpLanes;
  if (node >= nodes.n_v * nodes.n_u) return;  // a whole warp
  const int64_t v = node / nodes.n_u, u = node % nodes.n_u;
  const int group = threadIdx.x % kWarpLanes / kGroup, place = threadIdx.x % kGroup;
  const bool is_plane = nodes.axis_u != kNoAxis;
#pragma unroll 1
  for (int first = 0; first < nodes.channels; first += kGroup * kWidth) {
    const int k = first + place * kWidth;
    Chunk<kWidth> sum{};
    // 1. the cells around the node: it is the far node of those before it and the near node of its own
#pragma unroll 1
    for (int corner = 0; corner < (is_plane ? 4 : 2); ++corner) {
      const bool is_near_v = corner & 1, is_near_u = corner & 2;
      const int64_t cell = is_plane ? (v + is_near_v) * (nodes.n_u + 2) + u + is_near_u : v + is_near_v;
      // 2. the group's samples of the cell
      const int64_t end = nodes.starts[cell + 1];
      for (int64_t i = nodes.starts[cell] + group; i < end && k < nodes.channels; i += kGroups) {
        const int64_t s = nodes.order[i];
        const Point point = point_at(coords, s);
        const Tap tap_v = find_tap(along(point, nodes.axis_v), nodes.n_v);
        float weight = is_near_v ? tap_v.near_weight : tap_v.far_weight;
        if (is_plane) {
          const Tap tap_u = find_tap(along(point, nodes.axis_u), nodes.n_u);
          weight *= is_near_u ? tap_u.near_weight : tap_u.far_weight;
        }
        const Chunk<kWidth> upstream = upstream_at<kWidth, kFeatures>(grad + s * (kFeatures ? grad_stride : 1), k);
        const Chunk<kWidth> given = product(upstream, factor.template at<kWidth>(point, k));
        for (int c = 0; c < kWidth; ++c) sum.at[c] += given.at[c] * weight;
      }
    }
    // 3. the groups
    for (int offset = kGroup; offset < kWarpLanes; offset *= 2)
      for (int c = 0; c < kWidth; ++c) sum.at[c] += __shfl_xor_sync(kWholeWarp, sum.at[c], offset);
    if (group == 0 && k < nodes.channels) store(gradient + node * nodes.channels + k, sum);
  }
}

template <class Factor>
cudaError_t launch(const Nodes& nodes, const Factor& factor, bool in_fours, const float* coords, const float* grad,
                   int64_t grad_stride, float* gradient, cudaStream_t stream) {
  if (nodes.n_v * nodes.n_u * nodes.channels == 0) return cudaSuccess;
  const bool is_features = grad_stride != 0;
  in_fours &= comes_in_fours(nodes.channels, gradient) && (!is_features || comes_in_fours(grad_stride, grad));
  const auto density = in_fours ? gather_node<4, false, Factor> : gather_node<1, false, Factor>;
  const auto features = in_fours ? gather_node<4, true, Factor> : gather_node<1, true, Factor>;
  return NERF_SSIM_LAUNCH(is_features ? features : density, blocks_for(nodes.n_v * nodes.n_u, kNodesPerBlock), kThreads,
                          stream, nodes, factor, coords, grad, grad_stride, gradient);
}

}  // namespace

int launch_grid_cells(const float* coords, int64_t samples, int64_t axis_v, int64_t nodes_v, int64_t axis_u,
                      int64_t nodes_u, int64_t* cells, cudaStream_t stream) {
  if (samples == 0) return cudaSuccess;
  return NERF_SSIM_LAUNCH(grid_cells, blocks_for(samples, kThreads), kThreads, stream, coords, samples,
                          static_cast<int>(axis_v), nodes_v, static_cast<int>(axis_u), nodes_u, cells);
}

int launch_gather_vm_plane(const VmGrid& grid, int64_t orientation, const float* coords, const float* grad,
                           int64_t grad_stride, const int64_t* order, const int64_t* starts, float* gradient,
                           cudaStream_t stream) {
  const int u = kAxisU[orientation], v = kAxisV[orientation], w = kAxisW[orientation];
  const int width = static_cast<int>(grid.channels[orientation]);
  const float* line = grid.lines[orientation];
  return launch(Nodes{v, u, grid.nodes[v], grid.nodes[u], width, order, starts},
                VmLineFactor{line, w, grid.nodes[w], width}, comes_in_fours(width, line), coords, grad, grad_stride,
                gradient, stream);
}

int launch_gather_vm_line(const VmGrid& grid, int64_t orientation, const float* coords, const float* grad,
                          int64_t grad_stride, const int64_t* order, const int64_t* starts, float* gradient,
                          cudaStream_t stream) {
  const int u = kAxisU[orientation], v = kAxisV[orientation], w = kAxisW[orientation];
  const int width = static_cast<int>(grid.channels[orientation]);
  const float* plane = grid.planes[orientation];
  return launch(Nodes{w, kNoAxis, grid.nodes[w], 1, width, order, starts},
                VmPlaneFactor{plane, v, u, grid.nodes[v], grid.nodes[u], width}, comes_in_fours(width, plane), coords,
                grad, grad_stride, gradient, stream);
}

int launch_gather_cp_line(const CpGrid& grid, int64_t axis, const float* coords, const float* grad, int64_t grad_stride,
                          const int64_t* order, const int64_t* starts, float* gradient, cudaStream_t stream) {
  const int own = static_cast<int>(axis), first = (own + 1) % 3, second = (own + 2) % 3;
  const int width = static_cast<int>(grid.channels);
  const auto line = [&](int along) { return VmLineFactor{grid.lines[along], along, grid.nodes[along], width}; };
  return launch(Nodes{own, kNoAxis, grid.nodes[own], 1, width, order, starts}, CpFactor{line(first), line(second)},
                comes_in_fours(width, grid.lines[0], grid.lines[1], grid.lines[2]), coords, grad, grad_stride, gradient,
                stream);
}

}  // namespace nerf_ssim
