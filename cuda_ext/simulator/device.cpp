#include "device.h"

#include <link.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <queue>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "fibre.h"

namespace nerf_ssim::simulator {
namespace {

enum class State { kReady, kAtBarrier, kMeeting, kDone };

struct Thread {
  Fibre fibre;
  uint3 index;
  int number;  // in the block, x fastest
  State state;
  const void* place;  // of the __syncthreads at which it waits
  // Its part in a warp primitive.
  Exchange exchange;
  unsigned mask;
  uint64_t offered, received;
  int source;
};

enum class Order { kAscending, kDescending, kRandom };

class Device {
 public:
  Order order = Order::kAscending;
  std::mt19937 random;
  int64_t first_block = 0, only_blocks = -1;
  std::string failure;
  Observer* observer = nullptr;

  dim3 grid, block;
  uint3 block_index;
  Thread* running = nullptr;

  cudaError_t run(dim3 grid, dim3 block, void (*body)(const void*), const void* arguments);
  // Called by the running thread:
  void wait(State state);
  [[noreturn]] void fail_running(const std::string& what);

 private:
  using Ranked = std::pair<uint32_t, int>;  // the lowest rank runs next
  void (*body_)(const void*);
  const void* arguments_;
  std::vector<std::unique_ptr<Thread>> threads_;
  int threads_in_block_ = 0;
  std::priority_queue<Ranked, std::vector<Ranked>, std::greater<Ranked>> ready_;

  static void thread_body();
  void fail(const std::string& what, const Thread* thread);
  void run_block();
  void make_ready(Thread& thread);
  bool release_barrier();
  void meet_if_complete(Thread& last);
  bool give(Thread& thread, Thread* const* lanes);
};

Device& device() {
  static Device the_device;
  return the_device;
}

// The thread-local storage of the library that this function is in.
int find_storage(dl_phdr_info* library, size_t, void* result) {
  const auto own = reinterpret_cast<uintptr_t>(&find_storage);
  const ElfW(Phdr)* storage = nullptr;
  bool is_here = false;
  for (int i = 0; i < library->dlpi_phnum; ++i) {
    const ElfW(Phdr) & part = library->dlpi_phdr[i];
    const uintptr_t begin = library->dlpi_addr + part.p_vaddr;
    if (part.p_type == PT_LOAD) is_here = is_here || (begin <= own && own < begin + part.p_memsz);
    if (part.p_type == PT_TLS) storage = &part;
  }
  if (!is_here || storage == nullptr) return 0;
  char* const begin = static_cast<char*>(library->dlpi_tls_data);
  *static_cast<Range*>(result) = {begin, begin + storage->p_memsz};
  return 1;
}

thread_local volatile char reached;  // touching it makes the loader provide the storage

std::string at(uint3 i) { return std::to_string(i.x) + "," + std::to_string(i.y) + "," + std::to_string(i.z); }

bool is_launchable(const dim3& grid, const dim3& block) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  const bool has_block = 1 <= threads && threads <= 1024 && block.x <= 1024 && block.y <= 1024 && block.z <= 64;
  const bool has_grid =
      1 <= grid.x && grid.x <= 0x7FFFFFFF && 1 <= grid.y && grid.y <= 65535 && 1 <= grid.z && grid.z <= 65535;
  return has_block && has_grid;
}

void Device::fail(const std::string& what, const Thread* thread) {
  if (!failure.empty()) return;
  failure = what + " (block " + at(block_index) + (thread != nullptr ? ", thread " + at(thread->index) : "") + ")";
}

void Device::fail_running(const std::string& what) {
  fail(what, running);
  running->fibre.suspend(true);
  __builtin_unreachable();
}

void Device::thread_body() {
  Device& d = device();
  d.body_(d.arguments_);
  d.running->state = State::kDone;
  d.running->fibre.suspend(true);
}

void Device::wait(State state) {
  running->state = state;
  running->fibre.suspend(false);
}

void Device::make_ready(Thread& thread) {
  thread.state = State::kReady;
  const uint32_t number = thread.number;
  const uint32_t rank = order == Order::kAscending ? number : order == Order::kDescending ? ~number : random();
  ready_.push({rank, thread.number});
}

cudaError_t Device::run(dim3 grid_, dim3 block_, void (*body)(const void*), const void* arguments) {
  grid = grid_, block = block_, body_ = body, arguments_ = arguments, block_index = {0, 0, 0};
  if (!is_launchable(grid, block)) {
    fail("no device launches a grid of " + at(grid) + " blocks of " + at(block) + " threads", nullptr);
    return cudaErrorInvalidConfiguration;
  }
  threads_in_block_ = static_cast<int>(block.x * block.y * block.z);
  while (static_cast<int>(threads_.size()) < threads_in_block_) threads_.push_back(std::make_unique<Thread>());
  for (unsigned i = 0; i < static_cast<unsigned>(threads_in_block_); ++i) {
    threads_[i]->number = static_cast<int>(i);
    threads_[i]->index = {i % block.x, i / block.x % block.y, i / (block.x * block.y)};
  }
  const int64_t all = int64_t{grid.x} * grid.y * grid.z;
  const int64_t first = only_blocks < 0 ? 0 : std::min(first_block, all);
  std::vector<int64_t> blocks(only_blocks < 0 ? all : std::min(only_blocks, all - first));
  std::iota(blocks.begin(), blocks.end(), first);
  if (order == Order::kDescending) std::reverse(blocks.begin(), blocks.end());
  if (order == Order::kRandom) std::shuffle(blocks.begin(), blocks.end(), random);

  if (observer != nullptr) observer->launch_begins();
  for (const int64_t number : blocks) {
    block_index = {static_cast<unsigned>(number % grid.x), static_cast<unsigned>(number / grid.x % grid.y),
                   static_cast<unsigned>(number / (int64_t{grid.x} * grid.y))};
    run_block();
    if (!failure.empty()) return cudaErrorLaunchFailure;
  }
  return cudaSuccess;
}

void Device::run_block() {
  const Range shared = shared_memory();
  std::memset(shared.begin, 0xFF, shared.end - shared.begin);  // NaN
  if (observer != nullptr) observer->block_begins();
  ready_ = {};
  for (int i = 0; i < threads_in_block_; ++i) {
    threads_[i]->fibre.prepare(&Device::thread_body);
    make_ready(*threads_[i]);
  }
  do {
    while (!ready_.empty() && failure.empty()) {
      Thread& thread = *threads_[ready_.top().second];
      ready_.pop();
      running = &thread;
      thread.fibre.resume();
      running = nullptr;
      if (thread.state == State::kMeeting && failure.empty()) meet_if_complete(thread);
    }
  } while (failure.empty() && release_barrier());
  if (observer != nullptr) observer->block_ends();
}

// No thread can go on: either all are done (false), or all wait at one __syncthreads and go on from there.
bool Device::release_barrier() {
  const Thread *waiting = nullptr, *done = nullptr;
  for (int i = 0; i < threads_in_block_; ++i) {
    const Thread& thread = *threads_[i];
    if (thread.state == State::kMeeting) {
      fail("a warp primitive waits for lanes that never arrive", &thread);
      return false;
    }
    if (thread.state == State::kDone) done = &thread;
    if (thread.state != State::kAtBarrier) continue;
    if (waiting != nullptr && waiting->place != thread.place) {
      fail("barrier divergence: threads wait at different __syncthreads", &thread);
      return false;
    }
    waiting = &thread;
  }
  if (waiting == nullptr) return false;
  if (done != nullptr) {
    fail("barrier divergence: a thread ended while others wait at __syncthreads", done);
    return false;
  }
  for (int i = 0; i < threads_in_block_; ++i) make_ready(*threads_[i]);
  if (observer != nullptr) observer->block_met();
  return true;
}

// Ends a warp primitive when its last lane has arrived: gives every lane what it receives.
void Device::meet_if_complete(Thread& last) {
  const int warp = last.number / kWarp;
  Thread* lanes[kWarp] = {};
  for (int lane = 0; lane < kWarp; ++lane) {
    if ((last.mask >> lane & 1) == 0) continue;
    const int number = warp * kWarp + lane;
    if (number >= threads_in_block_)
      return fail("a warp primitive's mask names a lane that the block doesn't have", &last);
    lanes[lane] = threads_[number].get();
    if (lanes[lane]->state != State::kMeeting || lanes[lane]->mask != last.mask) return;
    if (lanes[lane]->exchange != last.exchange)
      return fail("lanes of one mask meet in different warp primitives", &last);
  }
  for (Thread* lane : lanes)
    if (lane != nullptr && !give(*lane, lanes)) return;
  for (Thread* lane : lanes)
    if (lane != nullptr) make_ready(*lane);
  if (observer != nullptr) observer->lanes_met(warp, last.mask);
}

bool Device::give(Thread& thread, Thread* const* lanes) {
  if (thread.exchange == Exchange::kShuffle) {
    const Thread* const source = lanes[thread.source];
    if (source == nullptr) {
      fail("a shuffle reads lane " + std::to_string(thread.source) + ", which is not in its mask", &thread);
      return false;
    }
    thread.received = source->offered;
    return true;
  }
  thread.received = 0;
  for (int lane = 0; lane < kWarp; ++lane) {
    const bool counts =
        lanes[lane] != nullptr &&
        (thread.exchange == Exchange::kBallot ? lanes[lane]->offered != 0 : lanes[lane]->offered == thread.offered);
    thread.received |= uint64_t{counts} << lane;
  }
  return true;
}

}  // namespace

uint3 thread_index() { return device().running->index; }
uint3 block_index() { return device().block_index; }
uint3 block_size() { return device().block; }
uint3 grid_size() { return device().grid; }
int lane() { return device().running->number % kWarp; }
int running_thread() { return device().running == nullptr ? -1 : device().running->number; }

__attribute__((noinline)) void block_barrier() {
  device().running->place = __builtin_return_address(0);
  device().wait(State::kAtBarrier);
}

uint64_t meet(Exchange what, unsigned mask, uint64_t offered, int source) {
  Thread& thread = *device().running;
  if ((mask >> (thread.number % kWarp) & 1) == 0)
    device().fail_running("a lane outside its own mask calls a warp primitive");
  thread.exchange = what, thread.mask = mask, thread.offered = offered, thread.source = source;
  device().wait(State::kMeeting);
  return thread.received;
}

cudaError_t run_grid(dim3 grid, dim3 block, void (*body)(const void*), const void* arguments) {
  return device().run(grid, block, body, arguments);
}

void note_atomic(const void* address, int bytes, const void* place) {
  if (Observer* const observer = device().observer) observer->atomic(address, bytes, place);
}

void set_observer(Observer* observer) { device().observer = observer; }

Range shared_memory() {
  reached = 0;
  static const Range range = [] {
    Range found{};
    dl_iterate_phdr(&find_storage, &found);
    return found;
  }();
  return range;
}

}  // namespace nerf_ssim::simulator

extern "C" {

void simulator_configure(int order, unsigned seed) {
  auto& device = nerf_ssim::simulator::device();
  device.order = static_cast<nerf_ssim::simulator::Order>(order);
  device.random.seed(seed);
  device.failure.clear();
}

void simulator_only_blocks(int64_t first, int64_t count) {
  nerf_ssim::simulator::device().first_block = first;
  nerf_ssim::simulator::device().only_blocks = count;
}

const char* simulator_failure() { return nerf_ssim::simulator::device().failure.c_str(); }
}
