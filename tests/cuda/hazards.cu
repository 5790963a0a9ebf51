// A kernel that uses everything the simulator checks, for its own tests: each thread of a block adds values of its
// neighbour over several rounds through shared memory, warps add up theirs, and blocks add to one number.
#include "launch.h"

namespace {

constexpr int kThreads = 128;

// A template, because compilers treat the shared variables of templates in their own way.
template <typename T>
__global__ void __launch_bounds__(kThreads) hazards(const T* values, int64_t rounds, T* total, T* squares) {
  __shared__ float passed[kThreads];
  __shared__ float of_warp[kThreads / 32];
  const int t = static_cast<int>(threadIdx.x);
  const T* mine = values + int64_t{blockIdx.x} * rounds * kThreads;
  float sum = 0;
  // 1. Every round hands a value to the left neighbour.
  for (int64_t round = 0; round < rounds; ++round) {
    passed[t] = mine[round * kThreads + t];
    __syncthreads();
    sum += passed[(t + 1) % kThreads];
    __syncthreads();  // the next round overwrites
  }
  // 2. Lanes exchange by hand, then by shuffles.
  passed[t] = sum;
  __syncwarp();
  squares[int64_t{blockIdx.x} * kThreads + t] = passed[t ^ 1] * passed[t ^ 1];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, step);
  if (t % 32 == 0) of_warp[t / 32] = sum;
  __syncthreads();
  // 3. One thread adds the block's sum to the total.
  if (t == 0) atomicAdd(total, of_warp[0] + of_warp[1] + of_warp[2] + of_warp[3]);
}

// Lane numbers that reach each lane by every warp primitive: [8][32] ints.
__global__ void primitives(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  out[lane] = __shfl_sync(0xFFFFFFFFu, lane, 5);
  out[32 + lane] = __shfl_sync(0xFFFFFFFFu, lane, 5, 8);
  out[64 + lane] = __shfl_up_sync(0xFFFFFFFFu, lane, 3u);
  out[96 + lane] = __shfl_down_sync(0xFFFFFFFFu, lane, 3u, 16);
  out[128 + lane] = static_cast<int>(__ballot_sync(0xFFFFFFFFu, lane % 3 == 0));
  out[160 + lane] = static_cast<int>(__match_any_sync(0xFFFFFFFFu, lane % 4));
  // Half a warp alone, with its own mask.
  if (lane < 16) out[192 + lane] = __shfl_xor_sync(0x0000FFFFu, lane, 1);
  else out[192 + lane] = __all_sync(0xFFFF0000u, lane > 3) + 10 * __any_sync(0xFFFF0000u, lane == 3);
  out[224 + lane] = __shfl_xor_sync(0xFFFFFFFFu, lane, 16, 8);
}

// Where the n-th block writes its number: one float at n * stride.
__global__ void far_apart(int64_t stride, float* out) {
  if (threadIdx.x == 0) out[int64_t{blockIdx.x} * stride] = static_cast<float>(blockIdx.x % 1000);
}

// Reads [n] at a stride, through shared memory in which lanes are `spread` words apart.
__global__ void strided(const float* in, int64_t stride, int64_t spread, float* out) {
  __shared__ float kept[32 * 32];
  const int lane = static_cast<int>(threadIdx.x);
  kept[lane * spread] = in[lane * stride];
  __syncwarp();
  out[lane] = kept[lane * spread];
}

}  // namespace

extern "C" cudaError_t launch_hazards(const float* values, int64_t blocks, int64_t rounds, float* total, float* squares,
                                      cudaStream_t stream) {
  return NERF_SSIM_LAUNCH((hazards<float>), static_cast<unsigned>(blocks), kThreads, stream, values, rounds, total, squares);
}

extern "C" cudaError_t launch_primitives(int* out, cudaStream_t stream) {
  return NERF_SSIM_LAUNCH(primitives, 1, 32, stream, out);
}

extern "C" cudaError_t launch_far_apart(int64_t blocks, int64_t stride, float* out, cudaStream_t stream) {
  return NERF_SSIM_LAUNCH(far_apart, static_cast<unsigned>(blocks), 32, stream, stride, out);
}

extern "C" cudaError_t launch_strided(const float* in, int64_t stride, int64_t spread, float* out, cudaStream_t stream) {
  return NERF_SSIM_LAUNCH(strided, 1, 32, stream, in, stride, spread, out);
}
