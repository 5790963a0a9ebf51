// The factorised grids on the GPU: vm_density, vm_features, vm_basis_features, cp_density, cp_features and their
// backwards.
//
// Backward passes add with atomics, whose order changes from run to run; under torch.use_deterministic_algorithms every
// node gathers from its samples, sorted by cell, instead.
#include <ATen/Context.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/sort.h>
#include <torch/library.h>

#include "../grid_arguments.h"
#include "device.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

// Neighbours along the last two dimensions of a plane or line are less than 2^31 floats apart, as the kernels' steps
// are.
template <class... Parts>
void check_rows(const Parts&... groups) {
  for (const auto* group : {&groups...})
    for (const Tensor& part : *group)
      TORCH_CHECK(part.size(-2) * part.size(-1) < (int64_t{1} << 31),
                  "a row of a plane or a line of 2^31 numbers or more");
}

bool is_deterministic() { return at::globalContext().deterministicAlgorithms(); }

// The samples in the order of their cells along one or two axes, and where each cell's samples start.
struct ByCell {
  Tensor order, starts;

  ByCell(const Tensor& coords, const int64_t nodes[3], int axis_v, int axis_u, cudaStream_t stream) {
    const auto integers = coords.options().dtype(at::kLong);
    const int64_t nodes_u = axis_u < 0 ? 1 : nodes[axis_u];
    Tensor cells = at::empty({coords.size(0)}, integers);
    check_launch(launch_grid_cells(coords.const_data_ptr<float>(), coords.size(0), axis_v, nodes[axis_v], axis_u,
                                   nodes_u, cells.mutable_data_ptr<int64_t>(), stream),
                 "grid_cells");
    const int64_t count = (nodes[axis_v] + 2) * (axis_u < 0 ? 1 : nodes_u + 2);
    auto [sorted, by_cell] = at::sort(cells, /*stable=*/true, /*dim=*/0, /*descending=*/false);
    order = by_cell;
    starts = at::searchsorted(sorted, at::arange(count + 1, integers));
  }

  const int64_t* in_order() const { return order.const_data_ptr<int64_t>(); }
  const int64_t* first() const { return starts.const_data_ptr<int64_t>(); }
};

Tensor vm_forward(const Vm& vm, bool is_features) {
  const OnDeviceOf device(vm.coords);
  check_rows(vm.planes, vm.lines);
  Tensor out = grid_output(vm, is_features);
  check_launch(launch_vm(vm.grid, vm.points(), vm.samples(), is_features, out.mutable_data_ptr<float>(), device.stream),
               is_features ? "vm_features" : "vm_density");
  return out;
}

// Every part's gradient gathered by its nodes.
void gather_vm(const Vm& vm, const float* grad, bool is_features, const VmGradient& out, cudaStream_t stream) {
  const int64_t stride = is_features ? vm.width() : 0;
  for (int m = 0; m < 3; ++m) {
    const ByCell in_plane(vm.coords, vm.grid.nodes, kAxisV[m], kAxisU[m], stream);
    check_launch(launch_gather_vm_plane(vm.grid, m, vm.points(), grad, stride, in_plane.in_order(), in_plane.first(),
                                        out.planes[m], stream),
                 "vm_backward");
    const ByCell in_line(vm.coords, vm.grid.nodes, kAxisW[m], -1, stream);
    check_launch(launch_gather_vm_line(vm.grid, m, vm.points(), grad, stride, in_line.in_order(), in_line.first(),
                                       out.lines[m], stream),
                 "vm_backward");
    if (is_features) grad += vm.grid.channels[m];
  }
}

std::array<Tensor, 6> vm_backward(const Tensor& grad, const Vm& vm, bool is_features) {
  const OnDeviceOf device(vm.coords);
  check_rows(vm.planes, vm.lines);
  const Tensor upstream = checked_grad(grad, vm, is_features);
  const VmGradients out(vm);
  const float* from = upstream.const_data_ptr<float>();
  if (vm.samples() > 0 && is_deterministic())
    gather_vm(vm, from, is_features, out.pointers, device.stream);
  else
    check_launch(launch_vm_backward(vm.grid, vm.points(), vm.samples(), from, is_features, out.pointers, device.stream),
                 "vm_backward");
  return out.tensors;
}

template <bool kFeatures>
Tensor vm_cuda(const Tensor& plane_xy, const Tensor& plane_xz, const Tensor& plane_yz, const Tensor& line_z,
               const Tensor& line_y, const Tensor& line_x, const Tensor& coords) {
  return vm_forward(Vm({plane_xy, plane_xz, plane_yz}, {line_z, line_y, line_x}, coords), kFeatures);
}

template <bool kFeatures>
SixTensors vm_backward_cuda(const Tensor& grad, const Tensor& plane_xy, const Tensor& plane_xz, const Tensor& plane_yz,
                            const Tensor& line_z, const Tensor& line_y, const Tensor& line_x, const Tensor& coords) {
  return std::tuple_cat(
      vm_backward(grad, Vm({plane_xy, plane_xz, plane_yz}, {line_z, line_y, line_x}, coords), kFeatures));
}

// The product with the basis is the vendor's matrix product; backward makes the features anew instead of keeping them.
Tensor vm_basis_features_cuda(const Tensor& plane_xy, const Tensor& plane_xz, const Tensor& plane_yz,
                              const Tensor& line_z, const Tensor& line_y, const Tensor& line_x, const Tensor& basis,
                              const Tensor& coords) {
  const Vm vm({plane_xy, plane_xz, plane_yz}, {line_z, line_y, line_x}, coords);
  return at::mm(vm_forward(vm, true), vm.checked_basis(basis).t());
}

SevenTensors vm_basis_features_backward_cuda(const Tensor& grad, const Tensor& plane_xy, const Tensor& plane_xz,
                                             const Tensor& plane_yz, const Tensor& line_z, const Tensor& line_y,
                                             const Tensor& line_x, const Tensor& basis, const Tensor& coords) {
  const Vm vm({plane_xy, plane_xz, plane_yz}, {line_z, line_y, line_x}, coords);
  const Tensor weight = vm.checked_basis(basis);
  const Tensor upstream = checked(grad, {vm.samples(), weight.size(0)}, "grad", coords);
  const auto of_grid = vm_backward(at::mm(upstream, weight), vm, true);
  return std::tuple_cat(of_grid, std::make_tuple(at::mm(upstream.t(), vm_forward(vm, true))));
}

template <bool kFeatures>
Tensor cp_cuda(const Tensor& line_x, const Tensor& line_y, const Tensor& line_z, const Tensor& coords) {
  const OnDeviceOf device(coords);
  const Cp cp({line_x, line_y, line_z}, coords);
  check_rows(cp.lines);
  Tensor out = grid_output(cp, kFeatures);
  check_launch(launch_cp(cp.grid, cp.points(), cp.samples(), kFeatures, out.mutable_data_ptr<float>(), device.stream),
               kFeatures ? "cp_features" : "cp_density");
  return out;
}

template <bool kFeatures>
ThreeTensors cp_backward_cuda(const Tensor& grad, const Tensor& line_x, const Tensor& line_y, const Tensor& line_z,
                              const Tensor& coords) {
  const OnDeviceOf device(coords);
  const Cp cp({line_x, line_y, line_z}, coords);
  check_rows(cp.lines);
  const Tensor upstream = checked_grad(grad, cp, kFeatures);
  const CpGradients out(cp);
  const float* from = upstream.const_data_ptr<float>();
  if (cp.samples() == 0 || !is_deterministic()) {
    check_launch(launch_cp_backward(cp.grid, cp.points(), cp.samples(), from, kFeatures, out.pointers, device.stream),
                 "cp_backward");
    return std::tuple_cat(out.tensors);
  }
  for (int axis = 0; axis < 3; ++axis) {
    const ByCell in_line(cp.coords, cp.grid.nodes, axis, -1, device.stream);
    check_launch(launch_gather_cp_line(cp.grid, axis, cp.points(), from, kFeatures ? cp.width() : 0, in_line.in_order(),
                                       in_line.first(), out.pointers.lines[axis], device.stream),
                 "cp_backward");
  }
  return std::tuple_cat(out.tensors);
}

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) {
  library.impl("vm_density", &vm_cuda<false>);
  library.impl("vm_features", &vm_cuda<true>);
  library.impl("vm_basis_features", &vm_basis_features_cuda);
  library.impl("vm_density_backward", &vm_backward_cuda<false>);
  library.impl("vm_features_backward", &vm_backward_cuda<true>);
  library.impl("vm_basis_features_backward", &vm_basis_features_backward_cuda);
  library.impl("cp_density", &cp_cuda<false>);
  library.impl("cp_features", &cp_cuda<true>);
  library.impl("cp_density_backward", &cp_backward_cuda<false>);
  library.impl("cp_features_backward", &cp_backward_cuda<true>);
}

}  // namespace
}  // namespace nerf_ssim
