// The one header that a kernel includes. Compiled by nvcc it is CUDA itself; with NERF_SSIM_SIMULATED, by g++, it is
// the simulator in this folder, which runs every CUDA thread on the CPU (docs/simulator.md).
#pragma once

#ifdef NERF_SSIM_SIMULATED
#include "cuda_on_cpu.h"
#else
#include <cuda_runtime.h>

// Launches `kernel` and is the launch's cudaError_t. A template's name goes in parentheses: (kernel<11, 1>).
#define NERF_SSIM_LAUNCH(kernel, grid, block, stream, ...) \
  ((kernel)<<<grid, block, 0, stream>>>(__VA_ARGS__), cudaGetLastError())
#endif
