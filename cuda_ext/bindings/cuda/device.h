// What every CUDA binding needs of the device: its stream, and a check of each launch.
//
// With NERF_SSIM_SIMULATED the same bindings take CPU tensors and run their kernels in the simulator.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#ifdef NERF_SSIM_SIMULATED
#include "../../simulator/device.h"
#define NERF_SSIM_CUDA_KEY CPU
#else
#include <c10/cuda/CUDAException.h>
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

  // Bytes of shared memory of a multiprocessor.
  int shared_memory() const { return 164 * 1024; }
#else
  explicit OnDeviceOf(const at::Tensor& tensor)
      : guard_(tensor.device()), stream(c10::cuda::getCurrentCUDAStream(tensor.device().index())) {}

  int shared_memory() const {
    int bytes = 0;
    const int device = guard_.current_device().index();
    C10_CUDA_CHECK(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device));
    return bytes;
  }

 private:
  const c10::cuda::CUDAGuard guard_;

 public:
#endif
  const cudaStream_t stream;
};

// `error` is the cudaError_t that a launcher returned.
inline void check_launch(int error, const char* op) {
#ifdef NERF_SSIM_SIMULATED
  TORCH_CHECK(error == cudaSuccess, op, ": ", simulator_failure());
#else
  TORCH_CHECK(error == cudaSuccess, op, ": ", cudaGetErrorString(static_cast<cudaError_t>(error)));
#endif
}

}  // namespace nerf_ssim
