// The simulated device: runs a grid block after block, and a block's threads as fibres that change places where CUDA's
// may.
//
// Threads stop at barriers and warp primitives only. Which of the threads that can go on is next is the order of the
// run: ascending, descending or random, so that a missing barrier shows as a value that depends on the order. Shared
// memory holds NaN when a block begins. What real devices leave undefined (a barrier that some threads don't reach, a
// shuffle from a lane outside the mask) ends the launch with a message instead.
#pragma once

#include <cstdint>

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidConfiguration = 9, cudaErrorLaunchFailure = 719 };
struct CUstream_st;
typedef CUstream_st* cudaStream_t;

struct uint3 {
  unsigned x, y, z;
};
struct dim3 : uint3 {
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : uint3{x, y, z} {}
};

namespace nerf_ssim::simulator {

constexpr int kWarp = 32;

// What the running thread asks about itself. It never changes during the thread's life, so the compiler may keep it.
__attribute__((const)) uint3 thread_index();
__attribute__((const)) uint3 block_index();
__attribute__((const)) uint3 block_size();
__attribute__((const)) uint3 grid_size();
__attribute__((const)) int lane();
int running_thread();  // its number in the block, -1 outside kernels

void block_barrier();

// What the lanes of a mask do together: each offers a value and receives one when all have arrived.
enum class Exchange {
  kNothing,  // __syncwarp
  kShuffle,  // the value that lane `source` offers
  kBallot,   // a bit for each lane that offers other than 0
  kMatch     // a bit for each lane that offers the same
};
uint64_t meet(Exchange what, unsigned mask, uint64_t offered, int source);

// Calls `body(arguments)` once a thread; returns what cudaGetLastError would.
cudaError_t run_grid(dim3 grid, dim3 block, void (*body)(const void*), const void* arguments);

template <typename Body>
cudaError_t launch(dim3 grid, dim3 block, const Body& body) {
  return run_grid(grid, block, [](const void* arguments) { (*static_cast<const Body*>(arguments))(); }, &body);
}

// An atomic operation is about to change `bytes` bytes; `place` is the instruction that asked for it.
void note_atomic(const void* address, int bytes, const void* place);

// What a tool that watches a run is told (see trace.cpp).
class Observer {
 public:
  virtual void launch_begins() = 0;
  virtual void block_begins() = 0;
  virtual void block_ends() = 0;
  virtual void block_met() = 0;                         // every thread has reached __syncthreads
  virtual void lanes_met(int warp, unsigned mask) = 0;  // every lane of the mask has arrived
  virtual void atomic(const void* address, int bytes, const void* place) = 0;
};
void set_observer(Observer*);

struct Range {
  char *begin, *end;
};
Range shared_memory();  // of the calling thread, which must be the same for all launches

}  // namespace nerf_ssim::simulator

// How a program that loaded a simulated kernel sets the simulator up.
extern "C" {
// Order of threads and blocks: 0 ascending, 1 descending, 2 random from `seed`. Forgets an earlier failure.
void simulator_configure(int order, unsigned seed);
// Run `count` blocks from number `first` on (x fastest) instead of all; count < 0 is all again.
void simulator_only_blocks(int64_t first, int64_t count);
// Why the last launch that failed did, or "".
const char* simulator_failure();
}
