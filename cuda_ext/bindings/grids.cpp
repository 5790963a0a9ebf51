// Torch operators of the factorised grids: vm_density, vm_features, vm_basis_features, cp_density, cp_features and
// their backwards.
#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <limits>

#include "grid_arguments.h"
#include "huge_pages.h"

namespace nerf_ssim {
namespace {

using at::Tensor;

// Cells keep the places of nodes in 32 bits.
void check_places_in(const std::array<Tensor, 3>& parts) {
  for (const Tensor& part : parts)
    TORCH_CHECK(part.numel() <= std::numeric_limits<int32_t>::max(), "a plane or a line of 2^31 numbers or more");
}

Vm checked_vm(const std::array<Tensor, 3>& planes, const std::array<Tensor, 3>& lines, const Tensor& coords) {
  check_places_in(planes);
  check_places_in(lines);
  return Vm(planes, lines, coords);
}

Cp checked_cp(const std::array<Tensor, 3>& lines, const Tensor& coords) {
  check_places_in(lines);
  return Cp(lines, coords);
}

template <bool kFeatures>
Tensor vm_forward(const Tensor& plane_xy, const Tensor& plane_xz, const Tensor& plane_yz, const Tensor& line_z,
                  const Tensor& line_y, const Tensor& line_x, const Tensor& coords) {
  const Vm vm = checked_vm({plane_xy, plane_xz, plane_yz}, {line_z, line_y, line_x}, coords);
  Tensor out = grid_output(vm, kFeatures);
  const auto forward = kFeatures ? cpu::vm_features : cpu::vm_density;
  forward(vm.grid, vm.points(), vm.samples(), out.mutable_data_ptr<float>(), at::get_num_threads());
  return out;
}

template <bool kFeatures>
SixTensors vm_backward(const Tensor& grad, const Tensor& plane_xy, const Tensor& plane_xz, const Tensor& plane_yz,
                       const Tensor& line_z, const Tensor& line_y, const Tensor& line_x, const Tensor& coords) {
  const Vm vm = checked_vm({plane_xy, plane_xz, plane_yz}, {line_z, line_y, line_x}, coords);
  const Tensor upstream = checked_grad(grad, vm, kFeatures);
  const VmGradients out(vm);
  cpu::vm_backward(vm.grid, vm.points(), vm.samples(), upstream.const_data_ptr<float>(), kFeatures, out.pointers,
                   at::get_num_threads());
  return std::tuple_cat(out.tensors);
}

Tensor vm_basis_features(const Tensor& plane_xy, const Tensor& plane_xz, const Tensor& plane_yz, const Tensor& line_z,
                         const Tensor& line_y, const Tensor& line_x, const Tensor& basis, const Tensor& coords) {
  const Vm vm = checked_vm({plane_xy, plane_xz, plane_yz}, {line_z, line_y, line_x}, coords);
  const Tensor weight = vm.checked_basis(basis);
  Tensor out = empty_in_huge_pages({vm.samples(), weight.size(0)}, coords.options());
  cpu::vm_basis(vm.grid, {weight.const_data_ptr<float>(), weight.size(0)}, vm.points(), vm.samples(),
                out.mutable_data_ptr<float>(), at::get_num_threads());
  return out;
}

SevenTensors vm_basis_features_backward(const Tensor& grad, const Tensor& plane_xy, const Tensor& plane_xz,
                                        const Tensor& plane_yz, const Tensor& line_z, const Tensor& line_y,
                                        const Tensor& line_x, const Tensor& basis, const Tensor& coords) {
  const Vm vm = checked_vm({plane_xy, plane_xz, plane_yz}, {line_z, line_y, line_x}, coords);
  const Tensor weight = vm.checked_basis(basis);
  const Tensor upstream = checked(grad, {vm.samples(), weight.size(0)}, "grad", coords);
  const VmGradients out(vm);
  Tensor weight_gradient = at::empty_like(weight);
  cpu::vm_basis_backward(vm.grid, {weight.const_data_ptr<float>(), weight.size(0)}, vm.points(), vm.samples(),
                         upstream.const_data_ptr<float>(), out.pointers, weight_gradient.mutable_data_ptr<float>(),
                         at::get_num_threads());
  return std::tuple_cat(out.tensors, std::make_tuple(weight_gradient));
}

template <bool kFeatures>
Tensor cp_forward(const Tensor& line_x, const Tensor& line_y, const Tensor& line_z, const Tensor& coords) {
  const Cp cp = checked_cp({line_x, line_y, line_z}, coords);
  Tensor out = grid_output(cp, kFeatures);
  const auto forward = kFeatures ? cpu::cp_features : cpu::cp_density;
  forward(cp.grid, cp.points(), cp.samples(), out.mutable_data_ptr<float>(), at::get_num_threads());
  return out;
}

template <bool kFeatures>
ThreeTensors cp_backward(const Tensor& grad, const Tensor& line_x, const Tensor& line_y, const Tensor& line_z,
                         const Tensor& coords) {
  const Cp cp = checked_cp({line_x, line_y, line_z}, coords);
  const Tensor upstream = checked_grad(grad, cp, kFeatures);
  const CpGradients out(cp);
  cpu::cp_backward(cp.grid, cp.points(), cp.samples(), upstream.const_data_ptr<float>(), kFeatures, out.pointers,
                   at::get_num_threads());
  return std::tuple_cat(out.tensors);
}

#define NERF_SSIM_VM_GRIDS \
  "Tensor plane_xy, Tensor plane_xz, Tensor plane_yz, Tensor line_z, Tensor line_y, Tensor line_x"
#define NERF_SSIM_VM_ARGUMENTS NERF_SSIM_VM_GRIDS ", Tensor coords"
#define NERF_SSIM_VM_BASIS_ARGUMENTS NERF_SSIM_VM_GRIDS ", Tensor basis, Tensor coords"
#define NERF_SSIM_CP_ARGUMENTS "Tensor line_x, Tensor line_y, Tensor line_z, Tensor coords"
#define NERF_SSIM_SIX "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  const auto def = [&](const char* schema, auto function) { library.def(schema, torch::dispatch(at::kCPU, function)); };
  def("vm_density(" NERF_SSIM_VM_ARGUMENTS ") -> Tensor", &vm_forward<false>);
  def("vm_features(" NERF_SSIM_VM_ARGUMENTS ") -> Tensor", &vm_forward<true>);
  def("vm_basis_features(" NERF_SSIM_VM_BASIS_ARGUMENTS ") -> Tensor", &vm_basis_features);
  def("vm_density_backward(Tensor grad, " NERF_SSIM_VM_ARGUMENTS ") -> " NERF_SSIM_SIX, &vm_backward<false>);
  def("vm_features_backward(Tensor grad, " NERF_SSIM_VM_ARGUMENTS ") -> " NERF_SSIM_SIX, &vm_backward<true>);
  def("vm_basis_features_backward(Tensor grad, " NERF_SSIM_VM_BASIS_ARGUMENTS
      ") -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
      &vm_basis_features_backward);
  def("cp_density(" NERF_SSIM_CP_ARGUMENTS ") -> Tensor", &cp_forward<false>);
  def("cp_features(" NERF_SSIM_CP_ARGUMENTS ") -> Tensor", &cp_forward<true>);
  def("cp_density_backward(Tensor grad, " NERF_SSIM_CP_ARGUMENTS ") -> (Tensor, Tensor, Tensor)", &cp_backward<false>);
  def("cp_features_backward(Tensor grad, " NERF_SSIM_CP_ARGUMENTS ") -> (Tensor, Tensor, Tensor)", &cp_backward<true>);
}

}  // namespace
}  // namespace nerf_ssim
