// Torch operators over cuda_ext/cpu/grids.h: vm_density, vm_features, vm_basis_features, cp_density, cp_features and
// their backwards.
#include "../cpu/grids.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <array>
#include <limits>
#include <tuple>

#include "grid_arguments.h"

namespace {

using at::Tensor;
using nerf_ssim::check_rank;
using SixTensors = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;
using SevenTensors = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;
using ThreeTensors = std::tuple<Tensor, Tensor, Tensor>;

// Keeps contiguous tensors alive beside the pointers into them.
struct Vm {
  std::array<Tensor, 3> planes, lines;
  Tensor coords;
  nerf_ssim::VmGrid grid;

  Vm(std::array<Tensor, 3> planes_, std::array<Tensor, 3> lines_, const Tensor& coords_) {
    nerf_ssim::check_vm(planes_, lines_);
    nerf_ssim::check_coords(coords_);
    coords = coords_.contiguous();
    for (int m = 0; m < 3; ++m) {
      TORCH_CHECK(planes_[m].numel() <= std::numeric_limits<int32_t>::max(), "a plane of 2^31 numbers or more");
      planes[m] = planes_[m].contiguous();
      lines[m] = lines_[m].contiguous();
      grid.planes[m] = planes[m].const_data_ptr<float>();
      grid.lines[m] = lines[m].const_data_ptr<float>();
      grid.channels[m] = planes[m].size(2);
      grid.nodes[nerf_ssim::kAxisW[m]] = lines[m].size(0);
    }
  }

  int64_t width() const { return grid.channels[0] + grid.channels[1] + grid.channels[2]; }
};

Tensor vm_density(
    const Tensor& plane_xy, const Tensor& plane_xz, const Tensor& plane_yz, const Tensor& line_z, const Tensor& line_y,
    const Tensor& line_x, const Tensor& coords) {
  const Vm vm({plane_xy, plane_xz, plane_yz}, {line_z, line_y, line_x}, coords);
  Tensor out = at::empty({coords.size(0)}, coords.options());
  nerf_ssim::vm_density(
      vm.grid, vm.coords.const_data_ptr<float>(), coords.size(0), out.data_ptr<float>(), at::get_num_threads());
  return out;
}

Tensor vm_features(
    const Tensor& plane_xy, const Tensor& plane_xz, const Tensor& plane_yz, const Tensor& line_z, const Tensor& line_y,
    const Tensor& line_x, const Tensor& coords) {
  const Vm vm({plane_xy, plane_xz, plane_yz}, {line_z, line_y, line_x}, coords);
  Tensor out = at::empty({coords.size(0), vm.width()}, coords.options());
  nerf_ssim::vm_features(
      vm.grid, vm.coords.const_data_ptr<float>(), coords.size(0), out.data_ptr<float>(), at::get_num_threads());
  return out;
}

// Zeroed gradients of the planes and the lines, and the pointers into them.
struct VmGradients {
  std::array<Tensor, 6> tensors;
  nerf_ssim::VmGradient pointers;

  explicit VmGradients(const Vm& vm) {
    for (int m = 0; m < 3; ++m) {
      tensors[m] = at::zeros_like(vm.planes[m]);
      tensors[3 + m] = at::zeros_like(vm.lines[m]);
      pointers.planes[m] = tensors[m].data_ptr<float>();
      pointers.lines[m] = tensors[3 + m].data_ptr<float>();
    }
  }
};

SixTensors vm_backward(const Tensor& grad, const Vm& vm, bool features) {
  check_rank(grad, features ? 2 : 1, "grad");
  TORCH_CHECK(
      grad.size(0) == vm.coords.size(0) && (!features || grad.size(1) == vm.width()), "grad: expected the output's shape");
  const Tensor upstream = grad.contiguous();
  const VmGradients out(vm);
  nerf_ssim::vm_backward(
      vm.grid, vm.coords.const_data_ptr<float>(), vm.coords.size(0), upstream.const_data_ptr<float>(), features,
      out.pointers, at::get_num_threads());
  return std::tuple_cat(out.tensors);
}

SixTensors vm_density_backward(
    const Tensor& grad, const Tensor& plane_xy, const Tensor& plane_xz, const Tensor& plane_yz, const Tensor& line_z,
    const Tensor& line_y, const Tensor& line_x, const Tensor& coords) {
  return vm_backward(grad, Vm({plane_xy, plane_xz, plane_yz}, {line_z, line_y, line_x}, coords), false);
}

SixTensors vm_features_backward(
    const Tensor& grad, const Tensor& plane_xy, const Tensor& plane_xz, const Tensor& plane_yz, const Tensor& line_z,
    const Tensor& line_y, const Tensor& line_x, const Tensor& coords) {
  return vm_backward(grad, Vm({plane_xy, plane_xz, plane_yz}, {line_z, line_y, line_x}, coords), true);
}

Tensor checked_basis(const Tensor& basis, const Vm& vm) {
  check_rank(basis, 2, "basis");
  TORCH_CHECK(basis.size(1) == vm.width(), "basis: expected [outputs, ", vm.width(), "], not ", basis.sizes());
  return basis.contiguous();
}

Tensor vm_basis_features(
    const Tensor& plane_xy, const Tensor& plane_xz, const Tensor& plane_yz, const Tensor& line_z, const Tensor& line_y,
    const Tensor& line_x, const Tensor& basis, const Tensor& coords) {
  const Vm vm({plane_xy, plane_xz, plane_yz}, {line_z, line_y, line_x}, coords);
  const Tensor weight = checked_basis(basis, vm);
  Tensor out = at::empty({coords.size(0), weight.size(0)}, coords.options());
  nerf_ssim::vm_basis(
      vm.grid, {weight.const_data_ptr<float>(), weight.size(0)}, vm.coords.const_data_ptr<float>(), coords.size(0),
      out.data_ptr<float>(), at::get_num_threads());
  return out;
}

SevenTensors vm_basis_features_backward(
    const Tensor& grad, const Tensor& plane_xy, const Tensor& plane_xz, const Tensor& plane_yz, const Tensor& line_z,
    const Tensor& line_y, const Tensor& line_x, const Tensor& basis, const Tensor& coords) {
  const Vm vm({plane_xy, plane_xz, plane_yz}, {line_z, line_y, line_x}, coords);
  const Tensor weight = checked_basis(basis, vm);
  check_rank(grad, 2, "grad");
  TORCH_CHECK(
      grad.size(0) == vm.coords.size(0) && grad.size(1) == weight.size(0), "grad: expected the output's shape");
  const Tensor upstream = grad.contiguous();
  const VmGradients out(vm);
  Tensor weight_gradient = at::empty_like(weight);
  nerf_ssim::vm_basis_backward(
      vm.grid, {weight.const_data_ptr<float>(), weight.size(0)}, vm.coords.const_data_ptr<float>(), vm.coords.size(0),
      upstream.const_data_ptr<float>(), out.pointers, weight_gradient.data_ptr<float>(), at::get_num_threads());
  return std::tuple_cat(out.tensors, std::make_tuple(weight_gradient));
}

struct Cp {
  std::array<Tensor, 3> lines;
  Tensor coords;
  nerf_ssim::CpGrid grid;

  Cp(std::array<Tensor, 3> lines_, const Tensor& coords_) {
    nerf_ssim::check_cp(lines_);
    nerf_ssim::check_coords(coords_);
    coords = coords_.contiguous();
    for (int axis = 0; axis < 3; ++axis) {
      lines[axis] = lines_[axis].contiguous();
      grid.lines[axis] = lines[axis].const_data_ptr<float>();
      grid.nodes[axis] = lines[axis].size(0);
    }
    grid.channels = lines[0].size(1);
  }
};

Tensor cp_density(const Tensor& line_x, const Tensor& line_y, const Tensor& line_z, const Tensor& coords) {
  const Cp cp({line_x, line_y, line_z}, coords);
  Tensor out = at::empty({coords.size(0)}, coords.options());
  nerf_ssim::cp_density(
      cp.grid, cp.coords.const_data_ptr<float>(), coords.size(0), out.data_ptr<float>(), at::get_num_threads());
  return out;
}

Tensor cp_features(const Tensor& line_x, const Tensor& line_y, const Tensor& line_z, const Tensor& coords) {
  const Cp cp({line_x, line_y, line_z}, coords);
  Tensor out = at::empty({coords.size(0), cp.grid.channels}, coords.options());
  nerf_ssim::cp_features(
      cp.grid, cp.coords.const_data_ptr<float>(), coords.size(0), out.data_ptr<float>(), at::get_num_threads());
  return out;
}

ThreeTensors cp_backward(const Tensor& grad, const Cp& cp, bool features) {
  check_rank(grad, features ? 2 : 1, "grad");
  TORCH_CHECK(
      grad.size(0) == cp.coords.size(0) && (!features || grad.size(1) == cp.grid.channels),
      "grad: expected the output's shape");
  const Tensor upstream = grad.contiguous();
  std::array<Tensor, 3> out;
  nerf_ssim::CpGradient gradient;
  for (int axis = 0; axis < 3; ++axis) {
    out[axis] = at::zeros_like(cp.lines[axis]);
    gradient.lines[axis] = out[axis].data_ptr<float>();
  }
  nerf_ssim::cp_backward(
      cp.grid, cp.coords.const_data_ptr<float>(), cp.coords.size(0), upstream.const_data_ptr<float>(), features, gradient,
      at::get_num_threads());
  return {out[0], out[1], out[2]};
}

ThreeTensors cp_density_backward(
    const Tensor& grad, const Tensor& line_x, const Tensor& line_y, const Tensor& line_z, const Tensor& coords) {
  return cp_backward(grad, Cp({line_x, line_y, line_z}, coords), false);
}

ThreeTensors cp_features_backward(
    const Tensor& grad, const Tensor& line_x, const Tensor& line_y, const Tensor& line_z, const Tensor& coords) {
  return cp_backward(grad, Cp({line_x, line_y, line_z}, coords), true);
}

}  // namespace

#define NERF_SSIM_VM_GRIDS \
  "Tensor plane_xy, Tensor plane_xz, Tensor plane_yz, Tensor line_z, Tensor line_y, Tensor line_x"
#define NERF_SSIM_VM_ARGUMENTS NERF_SSIM_VM_GRIDS ", Tensor coords"
#define NERF_SSIM_VM_BASIS_ARGUMENTS NERF_SSIM_VM_GRIDS ", Tensor basis, Tensor coords"
#define NERF_SSIM_CP_ARGUMENTS "Tensor line_x, Tensor line_y, Tensor line_z, Tensor coords"
#define NERF_SSIM_SIX "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  library.def("vm_density(" NERF_SSIM_VM_ARGUMENTS ") -> Tensor");
  library.def("vm_features(" NERF_SSIM_VM_ARGUMENTS ") -> Tensor");
  library.def("vm_basis_features(" NERF_SSIM_VM_BASIS_ARGUMENTS ") -> Tensor");
  library.def("vm_density_backward(Tensor grad, " NERF_SSIM_VM_ARGUMENTS ") -> " NERF_SSIM_SIX);
  library.def("vm_features_backward(Tensor grad, " NERF_SSIM_VM_ARGUMENTS ") -> " NERF_SSIM_SIX);
  library.def(
      "vm_basis_features_backward(Tensor grad, " NERF_SSIM_VM_BASIS_ARGUMENTS
      ") -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
  library.def("cp_density(" NERF_SSIM_CP_ARGUMENTS ") -> Tensor");
  library.def("cp_features(" NERF_SSIM_CP_ARGUMENTS ") -> Tensor");
  library.def("cp_density_backward(Tensor grad, " NERF_SSIM_CP_ARGUMENTS ") -> (Tensor, Tensor, Tensor)");
  library.def("cp_features_backward(Tensor grad, " NERF_SSIM_CP_ARGUMENTS ") -> (Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(nerf_ssim, CPU, library) {
  library.impl("vm_density", &vm_density);
  library.impl("vm_features", &vm_features);
  library.impl("vm_basis_features", &vm_basis_features);
  library.impl("vm_basis_features_backward", &vm_basis_features_backward);
  library.impl("vm_density_backward", &vm_density_backward);
  library.impl("vm_features_backward", &vm_features_backward);
  library.impl("cp_density", &cp_density);
  library.impl("cp_features", &cp_features);
  library.impl("cp_density_backward", &cp_density_backward);
  library.impl("cp_features_backward", &cp_features_backward);
}
