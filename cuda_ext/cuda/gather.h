// The grids' backward passes in a fixed order, without atomics: every node gathers what the samples around it give.
//
// For each plane and line the caller finds the samples' cells with launch_grid_cells, sorts the samples by cell and
// keeps their order; `starts` says where each cell's samples begin in `order`.
#pragma once

#include <cstdint>

#include "../simulator/gpu.h"

// cells[s] = the cell of sample s along axis_v and axis_u, [nodes_v + 2, nodes_u + 2] of them because a sample may lie
// before the first node and beyond the last. axis_u = -1: along axis_v alone, nodes_v + 2 cells.
extern "C" cudaError_t launch_grid_cells(
    const float* coords, int64_t samples, int64_t axis_v, int64_t nodes_v, int64_t axis_u, int64_t nodes_u,
    int64_t* cells, cudaStream_t stream);

// In the following, `grad` points to the first channel of the orientation in its first sample and has `grad_stride`
// floats a sample; 0: one gradient a sample for all channels. `order` [samples], `starts` [cells + 1].

// Gradient of the plane of `orientation`, given its line.
extern "C" cudaError_t launch_gather_vm_plane(
    const float* line, int64_t orientation, int64_t nodes_x, int64_t nodes_y, int64_t nodes_z, int64_t channels,
    const float* coords, const float* grad, int64_t grad_stride, const int64_t* order, const int64_t* starts,
    float* gradient, cudaStream_t stream);

// Gradient of the line of `orientation`, given its plane.
extern "C" cudaError_t launch_gather_vm_line(
    const float* plane, int64_t orientation, int64_t nodes_x, int64_t nodes_y, int64_t nodes_z, int64_t channels,
    const float* coords, const float* grad, int64_t grad_stride, const int64_t* order, const int64_t* starts,
    float* gradient, cudaStream_t stream);

// Gradient of the line along `axis`.
extern "C" cudaError_t launch_gather_cp_line(
    const float* line_x, const float* line_y, const float* line_z, int64_t axis, int64_t nodes_x, int64_t nodes_y,
    int64_t nodes_z, int64_t channels, const float* coords, const float* grad, int64_t grad_stride,
    const int64_t* order, const int64_t* starts, float* gradient, cudaStream_t stream);
