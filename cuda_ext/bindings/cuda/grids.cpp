// The factorised grids on the GPU: vm_density, vm_features, vm_basis_features, cp_density, cp_features and their
// backwards.
//
// Backward passes add with atomics, whose order changes from run to run; under torch.use_deterministic_algorithms every
// node gathers from its samples, sorted by cell, instead.
#include <ATen/Context.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <array>
#include <tuple>

#include "../../cuda/cp.h"
#include "../../cuda/gather.h"
#include "../../cuda/vm.h"
#include "../grid_arguments.h"
#include "checked.h"

namespace nerf_ssim {
namespace {

using at::Tensor;
using ThreeTensors = std::tuple<Tensor, Tensor, Tensor>;
using SixTensors = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;
using SevenTensors = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

std::array<Tensor, 3> contiguous(const std::array<Tensor, 3>& tensors, const char* name, const Tensor& like) {
  std::array<Tensor, 3> out;
  for (int i = 0; i < 3; ++i) out[i] = checked(tensors[i], tensors[i].sizes(), name, like);
  return out;
}

const float* data(const Tensor& tensor) { return tensor.const_data_ptr<float>(); }

// Whether neighbours along the last two dimensions are less than 2^31 floats apart, as the kernels' steps are.
void check_rows(const Tensor& part) {
  TORCH_CHECK(part.size(-2) * part.size(-1) < (int64_t{1} << 31), "a row of a plane or a line of 2^31 numbers or more");
}

struct Vm {
  std::array<Tensor, 3> planes, lines;
  Tensor coords;
  int64_t nodes[3];

  Vm(const std::array<Tensor, 3>& planes_, const std::array<Tensor, 3>& lines_, const Tensor& coords_) {
    check_vm(planes_, lines_);
    check_coords(coords_);
    planes = contiguous(planes_, "plane", coords_);
    lines = contiguous(lines_, "line", coords_);
    coords = checked(coords_, coords_.sizes(), "coords", coords_);
    for (int m = 0; m < 3; ++m) {
      check_rows(planes[m]);
      check_rows(lines[m]);
      nodes[kAxisW[m]] = lines[m].size(0);
    }
  }

  int64_t samples() const { return coords.size(0); }
  int64_t channels(int m) const { return planes[m].size(2); }
  int64_t width() const { return channels(0) + channels(1) + channels(2); }
};

struct Cp {
  std::array<Tensor, 3> lines;
  Tensor coords;

  Cp(const std::array<Tensor, 3>& lines_, const Tensor& coords_) {
    check_cp(lines_);
    check_coords(coords_);
    lines = contiguous(lines_, "line", coords_);
    coords = checked(coords_, coords_.sizes(), "coords", coords_);
    for (const Tensor& line : lines) check_rows(line);
  }

  int64_t samples() const { return coords.size(0); }
  int64_t nodes(int axis) const { return lines[axis].size(0); }
  int64_t channels() const { return lines[0].size(1); }
};

bool is_deterministic() { return at::globalContext().deterministicAlgorithms(); }

// The samples in the order of their cells along one or two axes, and where each cell's samples start.
struct ByCell {
  Tensor order, starts;

  ByCell(const Tensor& coords, int axis_v, int64_t nodes_v, int axis_u, int64_t nodes_u, const OnDeviceOf& device) {
    const auto integers = coords.options().dtype(at::kLong);
    Tensor cells = at::empty({coords.size(0)}, integers);
    check_launch(
        launch_grid_cells(
            data(coords), coords.size(0), axis_v, nodes_v, axis_u, nodes_u, cells.mutable_data_ptr<int64_t>(),
            device.stream),
        "grid_cells");
    const int64_t count = (nodes_v + 2) * (axis_u < 0 ? 1 : nodes_u + 2);
    auto [sorted, by_cell] = at::sort(cells, /*stable=*/true, /*dim=*/0, /*descending=*/false);
    order = by_cell;
    starts = at::searchsorted(sorted, at::arange(count + 1, integers));
  }
};

Tensor vm_forward(const Vm& vm, bool is_features) {
  const OnDeviceOf device(vm.coords);
  Tensor out = is_features ? at::empty({vm.samples(), vm.width()}, vm.coords.options())
                           : at::empty({vm.samples()}, vm.coords.options());
  check_launch(
      launch_vm(
          data(vm.planes[0]), data(vm.planes[1]), data(vm.planes[2]), data(vm.lines[0]), data(vm.lines[1]),
          data(vm.lines[2]), vm.nodes[0], vm.nodes[1], vm.nodes[2], vm.channels(0), vm.channels(1), vm.channels(2),
          data(vm.coords), vm.samples(), is_features, out.mutable_data_ptr<float>(), device.stream),
      is_features ? "vm_features" : "vm_density");
  return out;
}

// Every part's gradient gathered by its nodes.
void gather_vm(
    const Vm& vm, const Tensor& grad, bool is_features, std::array<Tensor, 6>& out, const OnDeviceOf& device) {
  const int64_t stride = is_features ? vm.width() : 0;
  int64_t first_channel = 0;
  for (int m = 0; m < 3; ++m) {
    const int u = kAxisU[m], v = kAxisV[m], w = kAxisW[m];
    const float* of_orientation = data(grad) + (is_features ? first_channel : 0);
    const ByCell in_plane(vm.coords, v, vm.nodes[v], u, vm.nodes[u], device);
    check_launch(
        launch_gather_vm_plane(
            data(vm.lines[m]), m, vm.nodes[0], vm.nodes[1], vm.nodes[2], vm.channels(m), data(vm.coords),
            of_orientation, stride, in_plane.order.const_data_ptr<int64_t>(),
            in_plane.starts.const_data_ptr<int64_t>(), out[m].mutable_data_ptr<float>(), device.stream),
        "vm_backward");
    const ByCell in_line(vm.coords, w, vm.nodes[w], -1, 1, device);
    check_launch(
        launch_gather_vm_line(
            data(vm.planes[m]), m, vm.nodes[0], vm.nodes[1], vm.nodes[2], vm.channels(m), data(vm.coords),
            of_orientation, stride, in_line.order.const_data_ptr<int64_t>(), in_line.starts.const_data_ptr<int64_t>(),
            out[3 + m].mutable_data_ptr<float>(), device.stream),
        "vm_backward");
    first_channel += vm.channels(m);
  }
}

std::array<Tensor, 6> vm_backward(const Tensor& grad, const Vm& vm, bool is_features) {
  const OnDeviceOf device(vm.coords);
  const Tensor upstream = is_features ? checked(grad, {vm.samples(), vm.width()}, "grad", vm.coords)
                                      : checked(grad, {vm.samples()}, "grad", vm.coords);
  std::array<Tensor, 6> out;
  for (int m = 0; m < 3; ++m) {
    out[m] = at::zeros_like(vm.planes[m]);
    out[3 + m] = at::zeros_like(vm.lines[m]);
  }
  if (vm.samples() == 0) return out;
  if (is_deterministic()) {
    gather_vm(vm, upstream, is_features, out, device);
    return out;
  }
  check_launch(
      launch_vm_backward(
          data(vm.planes[0]), data(vm.planes[1]), data(vm.planes[2]), data(vm.lines[0]), data(vm.lines[1]),
          data(vm.lines[2]), vm.nodes[0], vm.nodes[1], vm.nodes[2], vm.channels(0), vm.channels(1), vm.channels(2),
          data(vm.coords), vm.samples(), is_features, data(upstream), out[0].mutable_data_ptr<float>(),
          out[1].mutable_data_ptr<float>(), out[2].mutable_data_ptr<float>(), out[3].mutable_data_ptr<float>(),
          out[4].mutable_data_ptr<float>(), out[5].mutable_data_ptr<float>(), device.stream),
      "vm_backward");
  return out;
}

template <bool kFeatures>
Tensor vm_cuda(
    const Tensor& plane_xy, const Tensor& plane_xz, const Tensor& plane_yz, const Tensor& line_z, const Tensor& line_y,
    const Tensor& line_x, const Tensor& coords) {
  return vm_forward(Vm({plane_xy, plane_xz, plane_yz}, {line_z, line_y, line_x}, coords), kFeatures);
}

template <bool kFeatures>
SixTensors vm_backward_cuda(
    const Tensor& grad, const Tensor& plane_xy, const Tensor& plane_xz, const Tensor& plane_yz, const Tensor& line_z,
    const Tensor& line_y, const Tensor& line_x, const Tensor& coords) {
  return std::tuple_cat(
      vm_backward(grad, Vm({plane_xy, plane_xz, plane_yz}, {line_z, line_y, line_x}, coords), kFeatures));
}

// [outputs, sum of channels].
Tensor checked_basis(const Tensor& basis, const Vm& vm) {
  TORCH_CHECK(basis.dim() == 2, "basis: expected [outputs, ", vm.width(), "], not ", basis.sizes());
  return checked(basis, {basis.size(0), vm.width()}, "basis", vm.coords);
}

// The product with the basis is the vendor's matrix product; backward makes the features anew instead of keeping them.
Tensor vm_basis_features_cuda(
    const Tensor& plane_xy, const Tensor& plane_xz, const Tensor& plane_yz, const Tensor& line_z, const Tensor& line_y,
    const Tensor& line_x, const Tensor& basis, const Tensor& coords) {
  const Vm vm({plane_xy, plane_xz, plane_yz}, {line_z, line_y, line_x}, coords);
  return at::mm(vm_forward(vm, true), checked_basis(basis, vm).t());
}

SevenTensors vm_basis_features_backward_cuda(
    const Tensor& grad, const Tensor& plane_xy, const Tensor& plane_xz, const Tensor& plane_yz, const Tensor& line_z,
    const Tensor& line_y, const Tensor& line_x, const Tensor& basis, const Tensor& coords) {
  const Vm vm({plane_xy, plane_xz, plane_yz}, {line_z, line_y, line_x}, coords);
  const Tensor weight = checked_basis(basis, vm);
  const Tensor upstream = checked(grad, {vm.samples(), weight.size(0)}, "grad", coords);
  const auto of_grid = vm_backward(at::mm(upstream, weight), vm, true);
  return std::tuple_cat(of_grid, std::make_tuple(at::mm(upstream.t(), vm_forward(vm, true))));
}

Tensor cp_forward(const Cp& cp, bool is_features) {
  const OnDeviceOf device(cp.coords);
  Tensor out = is_features ? at::empty({cp.samples(), cp.channels()}, cp.coords.options())
                           : at::empty({cp.samples()}, cp.coords.options());
  check_launch(
      launch_cp(
          data(cp.lines[0]), data(cp.lines[1]), data(cp.lines[2]), cp.nodes(0), cp.nodes(1), cp.nodes(2),
          cp.channels(), data(cp.coords), cp.samples(), is_features, out.mutable_data_ptr<float>(), device.stream),
      is_features ? "cp_features" : "cp_density");
  return out;
}

void gather_cp(
    const Cp& cp, const Tensor& grad, bool is_features, std::array<Tensor, 3>& out, const OnDeviceOf& device) {
  for (int axis = 0; axis < 3; ++axis) {
    const ByCell in_line(cp.coords, axis, cp.nodes(axis), -1, 1, device);
    check_launch(
        launch_gather_cp_line(
            data(cp.lines[0]), data(cp.lines[1]), data(cp.lines[2]), axis, cp.nodes(0), cp.nodes(1), cp.nodes(2),
            cp.channels(), data(cp.coords), data(grad), is_features ? cp.channels() : 0,
            in_line.order.const_data_ptr<int64_t>(), in_line.starts.const_data_ptr<int64_t>(),
            out[axis].mutable_data_ptr<float>(), device.stream),
        "cp_backward");
  }
}

std::array<Tensor, 3> cp_backward(const Tensor& grad, const Cp& cp, bool is_features) {
  const OnDeviceOf device(cp.coords);
  const Tensor upstream = is_features ? checked(grad, {cp.samples(), cp.channels()}, "grad", cp.coords)
                                      : checked(grad, {cp.samples()}, "grad", cp.coords);
  std::array<Tensor, 3> out;
  for (int axis = 0; axis < 3; ++axis) out[axis] = at::zeros_like(cp.lines[axis]);
  if (cp.samples() == 0) return out;
  if (is_deterministic()) {
    gather_cp(cp, upstream, is_features, out, device);
    return out;
  }
  check_launch(
      launch_cp_backward(
          data(cp.lines[0]), data(cp.lines[1]), data(cp.lines[2]), cp.nodes(0), cp.nodes(1), cp.nodes(2),
          cp.channels(), data(cp.coords), cp.samples(), is_features, data(upstream), out[0].mutable_data_ptr<float>(),
          out[1].mutable_data_ptr<float>(), out[2].mutable_data_ptr<float>(), device.stream),
      "cp_backward");
  return out;
}

template <bool kFeatures>
Tensor cp_cuda(const Tensor& line_x, const Tensor& line_y, const Tensor& line_z, const Tensor& coords) {
  return cp_forward(Cp({line_x, line_y, line_z}, coords), kFeatures);
}

template <bool kFeatures>
ThreeTensors cp_backward_cuda(
    const Tensor& grad, const Tensor& line_x, const Tensor& line_y, const Tensor& line_z, const Tensor& coords) {
  return std::tuple_cat(cp_backward(grad, Cp({line_x, line_y, line_z}, coords), kFeatures));
}

}  // namespace
}  // namespace nerf_ssim

TORCH_LIBRARY_IMPL(nerf_ssim, NERF_SSIM_CUDA_KEY, library) {
  library.impl("vm_density", &nerf_ssim::vm_cuda<false>);
  library.impl("vm_features", &nerf_ssim::vm_cuda<true>);
  library.impl("vm_basis_features", &nerf_ssim::vm_basis_features_cuda);
  library.impl("vm_density_backward", &nerf_ssim::vm_backward_cuda<false>);
  library.impl("vm_features_backward", &nerf_ssim::vm_backward_cuda<true>);
  library.impl("vm_basis_features_backward", &nerf_ssim::vm_basis_features_backward_cuda);
  library.impl("cp_density", &nerf_ssim::cp_cuda<false>);
  library.impl("cp_features", &nerf_ssim::cp_cuda<true>);
  library.impl("cp_density_backward", &nerf_ssim::cp_backward_cuda<false>);
  library.impl("cp_features_backward", &nerf_ssim::cp_backward_cuda<true>);
}
