// The grid kernels of one instruction-set level as a table (see gemm_vector.h for what the includer sets).
#pragma once

#include "cp_kernels.h"
#include "vm_basis_kernels.h"
#include "vm_kernels.h"

namespace nerf_ssim::NERF_SSIM_ISA {

inline GridKernels grid_kernels() {
  return {vm_density,
          vm_features,
          vm_backward,
          vm_basis,
          vm_basis_backward,
          basis_forward_floats,
          basis_backward_floats,
          cp_forward<false>,
          cp_forward<true>,
          cp_backward,
          near_nodes};
}

}  // namespace nerf_ssim::NERF_SSIM_ISA
