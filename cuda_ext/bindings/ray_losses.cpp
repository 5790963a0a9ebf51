// Torch operators of DVGO's losses of a render. Kernels are for GPUs alone: a CPU gains nothing from fewer launches.
#include <torch/library.h>

namespace nerf_ssim {
namespace {

TORCH_LIBRARY_FRAGMENT(nerf_ssim, library) {
  library.def("light_entropy(Tensor light) -> Tensor");
  library.def("light_entropy_backward(Tensor grad, Tensor light) -> Tensor");
  library.def("point_error(Tensor rgb, Tensor weights, Tensor ray_index, Tensor target) -> Tensor");
  library.def(
      "point_error_backward(Tensor grad, Tensor rgb, Tensor weights, Tensor ray_index, Tensor target) -> Tensor");
}

}  // namespace
}  // namespace nerf_ssim
