// What every CUDA binding needs: the tensors' device and stream, checks of arguments and of launches.
//
// With NERF_SSIM_SIMULATED the same bindings take CPU tensors and run their kernels in the simulator.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#ifdef NERF_SSIM_SIMULATED
#include "../../simulator/device.h"
#define NERF_SSIM_CUDA_KEY CPU
#else
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#define NERF_SSIM_CUDA_KEY CUDA
#endif

namespace nerf_ssim {

// While it lives, kernels run on the tensor's device; `stream` is PyTorch's current one there.
class OnDeviceOf {
 public:
#ifdef NERF_SSIM_SIMULATED
  explicit OnDeviceOf(const at::Tensor&) : stream(nullptr) {}
#else
  explicit OnDeviceOf(const at::Tensor& tensor)
      : guard_(tensor.device()), stream(c10::cuda::getCurrentCUDAStream(tensor.device().index())) {}

 private:
  const c10::cuda::CUDAGuard guard_;

 public:
#endif
  const cudaStream_t stream;
};

inline void check_cuda(const at::Tensor& tensor, const char* name, at::ScalarType type, const at::Tensor& like) {
  TORCH_CHECK(tensor.scalar_type() == type, name, ": expected ", type, ", not ", tensor.scalar_type());
  TORCH_CHECK(tensor.device() == like.device(), name, ": on ", tensor.device(), ", other tensors on ", like.device());
}

inline void check_launch(cudaError_t error, const char* op) {
#ifdef NERF_SSIM_SIMULATED
  TORCH_CHECK(error == cudaSuccess, op, ": ", simulator_failure());
#else
  TORCH_CHECK(error == cudaSuccess, op, ": ", cudaGetErrorString(error));
#endif
}

}  // namespace nerf_ssim
